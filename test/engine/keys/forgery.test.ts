/** An attacker who writes to the disk and makes all checksums fit: no wrong byte is read, and a scrub with keys names what was changed. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { BlobRow } from '../../../engine/catalog/blob-rows.ts';
import { ownerKinds } from '../../../engine/catalog/reference-rows.ts';
import { toHex } from '../../../engine/codec/bytes.ts';
import { type OpenOptions, type Secret, type Store, StoreError, openStore } from '../../../engine/index.ts';
import { collect, noise, same, sha256, smallParameters, text } from '../store-folder.ts';
import { Forger, copyStore } from './forger.ts';

const secret: Secret = { kind: 'raw-key', key: new Uint8Array(32).fill(9) };
const keyed: OpenOptions = { encryption: { secret } };
const detected = ['corrupt', 'tampered', 'wrong-key', 'incompatible-format'];

/** Bytes of the content: with these parameters records of one and of three chunks, a frame, and what consists of chunks. */
const shapes = { small: 3000, several: 9000, large: 50_000, chunked: 40_000, node: 100 };
type Shape = keyof typeof shapes;

interface Victim {
  readonly shape: Shape;
  /** Of a node its payload. */
  readonly content: Uint8Array;
  id: string;
}

interface Attack {
  readonly what: string;
  readonly victims: readonly Victim[];
  readonly do: (forger: Forger, rows: readonly BlobRow[]) => void;
  /** What a read of a victim gives; absent where it gives the right bytes. */
  readonly code?: string;
  /** A scrub with keys finds nothing wrong with it either. */
  readonly harmless?: true;
  /** A scrub without keys sees it as well. */
  readonly seenWithoutKeys?: true;
}

const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-forgery-'));
const pattern = join(base, 'pattern');
/** What blobs are called on disk, by their ids. */
const onDisk = new Map<string, string>();
/** Objects as they were before they were sealed anew, by their names on disk. */
const older = new Map<string, Uint8Array>();

let seed = 1;
function victim(shape: Shape): Victim {
  const content = noise(shapes[shape], seed++);
  return { shape, content, id: sha256(content) };
}

const bystanders = (['small', 'several', 'large', 'chunked', 'node'] as const).map(victim);
const child = victim('small');

/** Bytes of a sealed object's head, and of a full chunk. */
const [head, chunk] = [72, 4096 + 16];
const flip = (bytes: Uint8Array, at: number): Uint8Array => put(bytes, at, bytes.at(at)! ^ 1);
const put = (bytes: Uint8Array, at: number, value: number): Uint8Array => {
  const changed = bytes.slice();
  changed[at < 0 ? bytes.length + at : at] = value;
  return changed;
};

/** Changes of a stored object. */
const changes: readonly (readonly [
  what: string,
  change: (stored: Uint8Array, name: string) => Uint8Array,
  rest: Pick<Attack, 'code' | 'harmless' | 'seenWithoutKeys'>,
])[] = [
  ['a turned bit in its nonce', (stored) => flip(stored, 12), { code: 'tampered' }],
  ['a turned bit in its commitment', (stored) => flip(stored, 40), { code: 'tampered' }],
  ['a turned bit in its first chunk', (stored) => flip(stored, head), { code: 'tampered' }],
  ['a turned bit in its last tag', (stored) => flip(stored, -81), { code: 'tampered' }],
  ['a turned bit in its trailer', (stored) => flip(stored, -80), { code: 'tampered' }],
  ['its last byte cut off', (stored) => stored.subarray(0, -1), { code: 'tampered' }],
  [
    'its middle cut out',
    (stored) => Buffer.concat([stored.subarray(0, 99), stored.subarray(999)]),
    { code: 'tampered' },
  ],
  ['a byte more', (stored) => Buffer.concat([stored, Uint8Array.of(0)]), { code: 'tampered' }],
  ['nothing left', () => new Uint8Array(0), { code: 'tampered', seenWithoutKeys: true }],
  ['chunks of another size', (stored) => put(stored, 6, 13), { code: 'tampered' }],
  ['an epoch that never was', (stored) => flip(stored, 11), { code: 'wrong-key' }],
  ['the epoch before', (stored) => put(stored, 8, 1), { code: 'tampered' }],
  ['a suite of the future', (stored) => put(stored, 4, 9), { code: 'incompatible-format' }],
  [
    'the object from before it was sealed anew, which is the same blob',
    (_, name) => older.get(name)!,
    { harmless: true },
  ],
];

const attacks: readonly Attack[] = [
  ...(['small', 'several', 'large'] as const).flatMap((shape) =>
    changes.map(([what, change, rest]): Attack => ({
      what: `${shape}: ${what}`,
      victims: [victim(shape)],
      do: (forger, [row]) => forger.replace(row!, { content: change(forger.stored(row!), toHex(row!.id)) }),
      ...rest,
    })),
  ),
  ...(['several', 'large'] as const).map((shape): Attack => ({
    what: `${shape}: two chunks exchanged`,
    victims: [victim(shape)],
    do(forger, [row]) {
      const stored = forger.stored(row!);
      const [first, second] = [0, 1].map((i) => stored.subarray(head + i * chunk, head + (i + 1) * chunk));
      const pieces = [stored.subarray(0, head), second!, first!, stored.subarray(head + 2 * chunk)];
      forger.replace(row!, { content: Buffer.concat(pieces) });
    },
    code: 'tampered',
  })),
  ...(['small', 'large', 'node'] as const).map((shape): Attack => ({
    what: `${shape}: two objects exchanged`,
    victims: [victim(shape), victim(shape)],
    do(forger, [a, b]) {
      const [one, two] = [forger.stored(a!), forger.stored(b!)];
      forger.replace(a!, { content: two });
      forger.replace(b!, { content: one });
    },
    code: 'tampered',
  })),
  {
    what: 'rows that point to the records of each other',
    victims: [victim('small'), victim('small')],
    do(forger, [a, b]) {
      const placeOf = ({ extent, start, stored, incarnation }: BlobRow) => ({
        extent,
        start,
        stored,
        incarnation,
      });
      forger.setBlob(a!, placeOf(b!));
      forger.setBlob(b!, placeOf(a!));
    },
    code: 'corrupt',
    seenWithoutKeys: true,
  },
  {
    what: 'chunked blobs that refer to the manifests of each other',
    victims: [victim('chunked'), victim('chunked')],
    do(forger, [a, b]) {
      const [one, two] = [forger.manifestOf(a!.n), forger.manifestOf(b!.n)];
      forger.refer(two, ownerKinds.chunked, a!.n);
      forger.refer(one, ownerKinds.chunked, b!.n);
    },
    code: 'corrupt',
  },
  {
    what: 'a node in the place of bytes',
    victims: [victim('small')],
    do: (forger, [row]) => forger.replace(row!, { content: forger.stored(rowOf(forger, bystanders[4]!)) }),
    code: 'tampered',
  },
  {
    what: 'bytes in the place of a node',
    victims: [victim('node')],
    do: (forger, [row]) => forger.replace(row!, { content: forger.stored(rowOf(forger, bystanders[0]!)) }),
    code: 'tampered',
  },
  {
    what: 'a node that says it links to something else',
    victims: [victim('node')],
    do(forger, [row]) {
      const stored = forger.stored(row!);
      stored.set(rowOf(forger, bystanders[0]!).id, 41);
      forger.replace(row!, { content: stored });
    },
    code: 'tampered',
  },
  ...(['small', 'large'] as const).map((shape): Attack => {
    const mine = victim(shape);
    return {
      what: `${shape}: its content in the clear`,
      victims: [mine],
      do: (forger, [row]) => forger.replace(row!, { content: mine.content, sealed: false }),
      code: 'tampered',
      seenWithoutKeys: true,
    };
  }),
  {
    what: 'labels exchanged: their blobs tell who they are',
    victims: [victim('small'), victim('large')],
    do(forger, [a, b]) {
      forger.setBlob(a!, { label: b!.label });
      forger.setBlob(b!, { label: a!.label });
    },
  },
  ...(['small', 'large', 'chunked', 'node'] as const).flatMap((shape): Attack[] => [
    {
      what: `${shape}: a label of an epoch that never was`,
      victims: [victim(shape)],
      do: (forger, [row]) => forger.setBlob(row!, { label: flip(row!.label!, 5) }),
    },
    {
      what: `${shape}: a label of noise`,
      victims: [victim(shape)],
      do: (forger, [row]) => forger.setBlob(row!, { label: noise(86, 3) }),
    },
    {
      what: `${shape}: no label`,
      victims: [victim(shape)],
      do: (forger, [row]) => forger.setBlob(row!, { label: null }),
      harmless: true,
    },
  ]),
  ...(['small', 'large'] as const).map((shape): Attack => ({
    what: `${shape}: a row that tells another size`,
    victims: [victim(shape)],
    do: (forger, [row]) => forger.setBlob(row!, { size: row!.size - 1 }),
    code: 'corrupt',
    seenWithoutKeys: true,
  })),
];
const everyone = [...bystanders, child, ...attacks.flatMap(({ victims }) => victims)];

function open(path: string, options: OpenOptions = keyed): Promise<Store> {
  return openStore(path, {
    threads: { count: 0 },
    parameters: smallParameters,
    durability: 'relaxed',
    chunking: { mode: 'off', least: 4096, average: 8192, greatest: 16_384 },
    ...options,
  });
}

async function putOne(store: Store, { shape, content }: Victim): Promise<string> {
  const links = shape === 'node' ? { links: [{ kind: 'raw', id: child.id }] as const } : {};
  const { id } = await store.put(content, {
    chunking: shape === 'chunked' ? 'fastcdc' : 'off',
    owner: 'me',
    ...links,
  });
  return id;
}

before(async () => {
  let store = await open(pattern);
  await putOne(store, child);
  for (const one of everyone) one.id = await putOne(store, one);
  await store.roots.set('main', bystanders[0]!.id);
  await store.roots.set('other', bystanders[1]!.id);
  await store.sideTable('table').set([
    ['a', text('value a')],
    ['b', text('value b')],
  ]);
  await store.close();
  const forger = new Forger(pattern);
  for (const row of forger.rows()) older.set(toHex(row.id), forger.stored(row));
  forger.close();
  store = await open(pattern);
  await store.keys.rotate();
  await store.keys.reseal();
  await store.close();
  // Listed in the same order, with keys and without.
  const [ids, names] = [await listed(keyed), await listed({})];
  ids.forEach((id, i) => onDisk.set(id, names[i]!));
});

after(() => rmSync(base, { recursive: true, force: true }));

async function listed(options: OpenOptions): Promise<string[]> {
  const store = await open(pattern, options);
  const ids = (await collect(store.list())).map(({ id }) => id);
  await store.close();
  return ids;
}

const rowOf = (forger: Forger, { id }: Victim): BlobRow => forger.row(onDisk.get(id)!);

/** A copy of the store, attacked and opened, closed in the end. */
async function attacked(
  options: OpenOptions,
  attack: (forger: Forger) => void,
  look: (store: Store) => Promise<void>,
): Promise<void> {
  const path = join(base, 'copy');
  copyStore(pattern, path);
  const forger = new Forger(path);
  attack(forger);
  forger.close();
  const store = await open(path, options);
  try {
    await look(store);
  } finally {
    await store.close();
    rmSync(path, { recursive: true });
  }
}

const allAttacks = (forger: Forger): void =>
  attacks.forEach(({ victims, do: attack }) =>
    attack(
      forger,
      victims.map((one) => rowOf(forger, one)),
    ),
  );

/** The right bytes, or the code that says why not. Whichever way they are read, never others. */
async function codeOf(store: Store, { shape, content, id }: Victim): Promise<string | undefined> {
  const whole = async (): Promise<Uint8Array> =>
    shape === 'node' ? (await store.getNode(id))!.payload : (await store.get(id))!;
  const reads = [
    async () => same(await whole(), content),
    async () => {
      const range = await store.readRange(id, 1000, 1500);
      if (shape !== 'node') same(range, content.subarray(1000, 2500));
    },
    async () => {
      const pieces = await collect((await store.stream(id)) as unknown as AsyncIterable<Uint8Array>);
      if (shape !== 'node') same(Buffer.concat(pieces), content);
    },
  ];
  const codes: (string | undefined)[] = [];
  for (const read of reads) {
    try {
      await read();
      codes.push(undefined);
    } catch (error) {
      assert.ok(StoreError.is(error), String((error as Error).stack));
      assert.ok(detected.includes(error.code), error.stack);
      assert.ok(
        error.code === 'wrong-key' || error.code === 'incompatible-format' || error.facts['id'] === id,
        error.stack,
      );
      codes.push(error.code);
    }
  }
  return codes[0];
}

test('forged objects and rows: the right bytes or a typed error; a scrub with keys names them all; puts heal them', async () => {
  await attacked(keyed, allAttacks, async (store) => {
    const known = new Set((await collect(store.list())).map(({ id }) => id));
    for (const { what, victims, code } of attacks)
      for (const one of victims) {
        assert.equal(await codeOf(store, one), code, what);
        assert.ok(known.has(one.id) || code !== undefined, `${what}: not in the list`);
      }
    for (const one of [...bystanders, child]) assert.equal(await codeOf(store, one), undefined);
    const found = new Set((await store.scrub()).damaged.map(({ id }) => id));
    for (const { what, victims, harmless = false } of attacks)
      for (const { id } of victims) assert.equal(found.delete(id), !harmless, what);
    assert.deepEqual([...found], [], 'a scrub names a blob that nobody touched');
    for (const { victims, what } of attacks)
      for (const one of victims) {
        assert.equal(await putOne(store, one), one.id);
        assert.equal(await codeOf(store, one), undefined, what);
      }
    assert.deepEqual((await store.scrub()).damaged, []);
  });
});

test('without keys a scrub sees what is not sealed, not there, or in another place; what was forged well it cannot see', async () => {
  const future = (what: string): boolean => what.includes('future');
  await attacked({}, allAttacks, async (store) => {
    const found = new Set((await store.scrub()).damaged.map(({ id }) => id));
    for (const { what, victims, seenWithoutKeys = false } of attacks)
      for (const { id } of victims)
        assert.equal(found.has(onDisk.get(id)!), seenWithoutKeys || future(what), what);
  });
});

test('a root that stands for another, or points elsewhere, is refused', async () => {
  const rootAttacks: Record<string, (forger: Forger) => void> = {
    'pointed at another blob': (forger) => {
      const [main, other] = forger.roots();
      forger.setRoot(main!, { blob: other!.blob });
    },
    'two roots exchanged, names and all': (forger) => {
      const [main, other] = forger.roots();
      forger.setRoot(main!, { blob: other!.blob, shown: other!.shown });
      forger.setRoot(other!, { blob: main!.blob, shown: main!.shown });
    },
    'only their names exchanged': (forger) => {
      const [main, other] = forger.roots();
      forger.setRoot(main!, { shown: other!.shown });
      forger.setRoot(other!, { shown: main!.shown });
    },
    'names without a seal': (forger) => {
      const [main, other] = forger.roots();
      forger.setRoot(main!, { shown: main!.shown.slice(0, 64) });
      forger.setRoot(other!, { shown: 'other' });
    },
  };
  for (const [what, attack] of Object.entries(rootAttacks))
    await attacked(keyed, attack, async (store) => {
      let refused = 0;
      for (const [i, name] of ['main', 'other'].entries()) {
        try {
          assert.equal(await store.roots.get(name), bystanders[i]!.id, what);
        } catch (error) {
          assert.ok(StoreError.is(error) && detected.includes(error.code), `${what}: ${String(error)}`);
          refused++;
        }
      }
      assert.ok(refused > 0, what);
      // Refused as a whole, or each left out, and counted: never told as what it is not.
      const listed = await store.roots
        .list()
        .catch((error: unknown) => assert.ok(StoreError.is(error), what));
      if (listed === undefined) return;
      for (const { name, id } of listed) assert.equal(id, bystanders[name === 'main' ? 0 : 1]!.id, what);
      assert.deepEqual([listed.length, (await store.health()).unopenedRoots], [2 - refused, refused], what);
    });
});

test('values of a side table that were exchanged or changed are as good as none', async () => {
  const each = (change: (value: Uint8Array) => Uint8Array) => (forger: Forger) =>
    forger.side().forEach(({ name, key, value }) => forger.setSide(name, key, change(value)));
  const sideAttacks: Record<string, (forger: Forger) => void> = {
    exchanged: (forger) => {
      const [a, b] = forger.side();
      forger.setSide(a!.name, a!.key, b!.value);
      forger.setSide(b!.name, b!.key, a!.value);
    },
    'a turned bit': each((value) => flip(value, -1)),
    'an unknown epoch': each((value) => flip(value, 5)),
    'an unknown suite': each((value) => flip(value, 0)),
    'in the clear': each(() => text('value a')),
  };
  for (const [what, attack] of Object.entries(sideAttacks))
    await attacked(keyed, attack, async (store) =>
      assert.deepEqual(await store.sideTable('table').get(['a', 'b']), [undefined, undefined], what),
    );
});
