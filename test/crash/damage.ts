// Damage by the thousand: blobs in volumes of every kind are harmed behind the store's back; a scrub finds each and no other, and repair heals all.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { type BlobId, type OpenOptions, type Store, openStore } from '../../engine/index.ts';
import { seededBytes, seededRandom } from './random.ts';

export interface DamageOptions {
  readonly seed: number;
  /** Blobs to be harmed. */
  readonly blobs: number;
  /** What they are healed from: further copies, or another store. */
  readonly from: 'mirror' | 'store';
}

export interface DamageReport {
  readonly harmed: number;
  readonly blobs: number;
  readonly found: number;
  readonly false: number;
  readonly missed: number;
  readonly remaining: number;
  /** Blobs that did not read back the same at the end. */
  readonly wrong: number;
  readonly seconds: number;
}

/** What becomes of a stored copy; what is deleted of a record are its bytes, since other records lie beside it. */
const harms: readonly ((bytes: Buffer, at: number, length: number, where: number) => Buffer)[] = [
  (bytes, at, length, where) => {
    bytes[at + Math.floor(where * length)]! ^= 1 << (where * 8);
    return bytes;
  },
  (bytes, at, length, where) => {
    const from = at + Math.floor(where * Math.max(1, length - 4096));
    return bytes.fill(0, from, Math.min(at + length, from + 4096));
  },
];
const cut = (bytes: Buffer, where: number): Buffer => bytes.subarray(0, Math.floor(where * bytes.length));

const options: OpenOptions = {
  threads: { count: 0 },
  parameters: { smallMax: 16_384, volumeBytesMax: 4 * 1024 * 1024 },
};

export async function runDamage({ seed, blobs, from }: DamageOptions): Promise<DamageReport> {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-damage-'));
  const started = performance.now();
  try {
    // Two more than are harmed, for each three that are.
    const count = Math.ceil((blobs * 5) / 3);
    const store = await openStore(join(base, 'store'), options);
    await extend(store, base, from);
    const ids = await fill(store, seed, count);
    await store.close();
    const replica = join(base, 'replica');
    if (from === 'store') {
      const other = await openStore(replica, options);
      await fill(other, seed, count);
      await other.close();
    }
    const harmed = harm(join(base, 'store'), base, { seed, blobs });
    const opened = await openStore(join(base, 'store'), options);
    const told = new Set<BlobId>();
    opened.on('damage', ({ id }) => told.add(id));
    const scrubbed = await opened.scrub();
    const found = new Set([...told].filter((id) => harmed.has(id)));
    let remaining = scrubbed.damaged.length;
    if (from === 'store') remaining = (await opened.repair({ from: replica })).remaining.length;
    const again = await opened.scrub();
    let wrong = again.damaged.length;
    for (const [n, id] of ids.entries())
      if (Buffer.compare((await opened.get(id)) ?? new Uint8Array(), contentOf(seed, n)) !== 0) wrong++;
    await opened.close();
    return {
      harmed: harmed.size,
      blobs: ids.length,
      found: found.size,
      false: told.size - found.size,
      missed: harmed.size - found.size,
      remaining,
      wrong,
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

/** A directory and a folder of SQLite volumes beside the store's own: every kind there is, twice. */
async function extend(store: Store, base: string, from: DamageOptions['from']): Promise<void> {
  await store.volumes.extend(join(base, 'files'), { allocation: 'striped' });
  await store.volumes.extend(join(base, 'packs'), { kind: 'sqlite' });
  if (from === 'mirror') await store.volumes.mirror(2);
}

/** Small and large ones by turns; some that compress, which are framed. */
function contentOf(seed: number, n: number): Uint8Array {
  const size = n % 3 === 0 ? 16_385 + (n % 40) * 3000 : 300 + (n % 50) * 310;
  const bytes = seededBytes(seed * 1_000_003 + n, n % 5 === 0 ? 64 : size);
  return n % 5 === 0 ? Buffer.alloc(size, bytes) : bytes;
}

async function fill(store: Store, seed: number, count: number): Promise<BlobId[]> {
  const numbers = Array.from({ length: count }, (_, n) => n);
  const puts = await Promise.all(
    numbers.map((n) =>
      store.put(contentOf(seed, n), { owner: 'x', compression: n % 5 === 0 ? 'always' : 'off' }),
    ),
  );
  return puts.map(({ id }) => id);
}

interface Copy {
  readonly id: string;
  readonly incarnation: number;
  readonly codec: number;
  readonly volume: number;
  readonly extent: number;
  readonly start: number;
  readonly stored: number;
}

/** Harms the first copy of so many blobs; nothing may have the store open. Returns which. */
function harm(
  store: string,
  base: string,
  { seed, blobs }: Pick<DamageOptions, 'seed' | 'blobs'>,
): Set<BlobId> {
  const random = seededRandom(seed);
  const index = new Database(join(store, 'index.db'), { readonly: true });
  const rows = index
    .prepare(
      'SELECT lower(hex(id)) AS id, incarnation, codec, volume, extent, start, stored FROM blobs ORDER BY id',
    )
    .all() as Copy[];
  const volumes = new Map(
    (
      index.prepare('SELECT n, id, kind, path, folder FROM volumes').all() as {
        n: number;
        id: string;
        kind: string;
        path: string | null;
        folder: number | null;
      }[]
    ).map((row) => [row.n, row]),
  );
  index.close();
  const chosen = rows
    .map((row) => ({ row, order: random.next() }))
    .toSorted((a, b) => a.order - b.order)
    .slice(0, blobs);
  for (const { row } of chosen) {
    const volume = volumes.get(row.volume)!;
    const where = random.next();
    const how = Math.floor(random.next() * 4);
    if (volume.kind === 'directory') {
      const folder = join(
        volume.path === null ? join(store, 'blobs') : join(base, 'files'),
        row.id.slice(0, 2),
      );
      const path = join(folder, `${row.id}.${row.incarnation.toString(16)}${row.codec === 1 ? '.f' : ''}`);
      const bytes = readFileSync(path);
      rmSync(path);
      if (how === 3) continue;
      writeFileSync(path, how === 2 ? cut(bytes, where) : harms[how]!(bytes, 0, bytes.length, where));
    } else {
      const folder = volume.folder === null ? join(store, 'volumes') : join(base, 'packs');
      const db = new Database(join(folder, `${volume.id}.db`));
      const { data } = db.prepare('SELECT data FROM extents WHERE n = ?').get(row.extent) as { data: Buffer };
      const harmed =
        how < 2
          ? harms[how]!(data, row.start, row.stored, where)
          : data.fill(0, row.start, row.start + row.stored);
      db.prepare('UPDATE extents SET data = ? WHERE n = ?').run(harmed, row.extent);
      db.close();
    }
  }
  return new Set(chosen.map(({ row }) => row.id));
}
