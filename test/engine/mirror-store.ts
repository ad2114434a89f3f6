// A store whose group is mirrored over three members, its own and two others, for the tests of mirrors.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import type { BlobId, Store, VolumeInfo } from '../../engine/index.ts';
import { sample } from '../crash/sample.ts';
import { type StoreFolder, noise, putAll, sha256, smallParameters, text } from './store-folder.ts';

/** Folders of a member: of its large blobs, and of its SQLite volumes. */
export interface Member {
  readonly files: string;
  readonly volumes: string;
}

export function membersOf(folder: StoreFolder, count = 3): Member[] {
  const others = Array.from({ length: count - 1 }, (_, i) => ({
    files: join(folder.side, `files${i + 1}`),
    volumes: join(folder.side, `volumes${i + 1}`),
  }));
  return [{ files: folder.at('blobs'), volumes: folder.at('volumes') }, ...others];
}

/** Adds the members but the store's own. */
export async function extendBy(store: Store, members: readonly Member[]): Promise<void> {
  for (const { files, volumes } of members.slice(1)) {
    await store.volumes.extend(files);
    await store.volumes.extend(volumes, { kind: 'sqlite' });
  }
}

/** How many records and files, and the bytes in chunks: by default a sample, with some of each form. */
export const mixed = {
  small: sample(60, 15),
  large: sample(6, 3),
  chunked: sample(900_000, 300_000),
} as const;
export const mixedWhole = { small: 60, large: 6, chunked: 900_000 } as const;

/** Blobs of every form: records, nodes, files, a frame, chunks under a manifest. */
export async function putMixed(
  store: Store,
  seed = 1,
  count: Readonly<Record<keyof typeof mixed, number>> = mixed,
): Promise<BlobId[]> {
  const small = Array.from({ length: count.small }, (_, i) => noise(700 + 40 * i, seed * 1000 + i));
  const large = Array.from({ length: count.large }, (_, i) =>
    noise(smallParameters.smallMax + 1 + i * 9000, seed * 1000 + 100 + i),
  );
  const ids = await putAll(store, [...small, ...large], 'x');
  const node = await store.put(text(`node ${seed}`), {
    links: ids
      .slice(0, 5)
      .sort()
      .map((id) => ({ kind: 'raw', id }) as const),
    owner: 'x',
  });
  const framed = await store.put(
    text(`the same words again and again ${seed} `.repeat(count.chunked / 300)),
    {
      owner: 'x',
      compression: 'always',
    },
  );
  const chunked = await store.put(noise(count.chunked, seed * 1000 + 500), {
    owner: 'x',
    chunking: 'fastcdc',
  });
  return [...ids, node.id, framed.id, chunked.id];
}

export async function readsAll(store: Store, ids: Iterable<BlobId>): Promise<void> {
  for (const id of ids) {
    const bytes = await store.get(id);
    assert.ok(bytes !== undefined, `${id} is lost`);
    assert.equal(sha256(bytes), id);
  }
}

/** Paths of blob files in a member. */
export function filesOf({ files }: Member): string[] {
  return readdirSync(files, { recursive: true })
    .map(String)
    .filter((name) => /^[0-9a-f]{2}\/[0-9a-f]{64}\./.test(name))
    .map((name) => join(files, name));
}

/** Paths of SQLite volumes in a member. */
export function volumesOf({ volumes }: Member): string[] {
  return readdirSync(volumes)
    .filter((name) => name.endsWith('.db'))
    .map((name) => join(volumes, name));
}

/** Where the catalog says that copies are: member folder by blob. Fails where two copies lie on one member. */
export function copiesByMember(folder: StoreFolder): Map<number, (number | string)[]> {
  const db = new Database(folder.at('index.db'), { readonly: true });
  try {
    const rows = db
      .prepare(
        `SELECT p.n, iif(v.kind = 'sqlite', 'f' || coalesce(v.folder, 0), v.n) AS member FROM
           (SELECT n, volume FROM blobs WHERE codec != 2 UNION ALL SELECT blob, volume FROM copies) p JOIN volumes v ON v.n = p.volume`,
      )
      .raw()
      .all() as [number, number | string][];
    const found = new Map<number, (number | string)[]>();
    for (const [n, member] of rows) found.set(n, [...(found.get(n) ?? []), member]);
    for (const [n, on] of found)
      assert.equal(new Set(on).size, on.length, `two copies of blob ${n} on one member`);
    return found;
  } finally {
    db.close();
  }
}

/** Every blob has exactly so many copies, on different members. */
export function allHave(folder: StoreFolder, copies: number): void {
  for (const [n, on] of copiesByMember(folder))
    assert.equal(on.length, copies, `blob ${n} has ${on.length} copies`);
}

/** As the volumes themselves tell: files and records that no row leads to are found by a scrub, and there are none. */
export async function isWhole(store: Store, ids: Iterable<BlobId>, copies: number): Promise<void> {
  await readsAll(store, ids);
  const { damaged, healed, adopted, recounted, badRows, missingCopies } = await store.scrub();
  assert.deepEqual(
    { damaged, healed, adopted, recounted, badRows, missingCopies },
    { damaged: [], healed: 0, adopted: 0, recounted: 0, badRows: 0, missingCopies: 0 },
  );
  const stats = await store.stats();
  assert.deepEqual([stats.copies, stats.missingCopies, stats.suspect], [copies, 0, 0]);
}

export async function volumeAt(store: Store, path: string): Promise<VolumeInfo> {
  const found = (await store.volumes.list()).find((volume) => volume.path === path);
  assert.ok(found !== undefined, `no volume in ${path}`);
  return found;
}

/** A closed store of three members, with blobs of every form. */
export async function mirrored(
  folder: StoreFolder,
  copies: number,
): Promise<{ ids: BlobId[]; members: Member[] }> {
  const store = await folder.open();
  const members = membersOf(folder);
  await extendBy(store, members);
  await store.volumes.mirror(copies);
  const ids = await putMixed(store);
  await folder.closeAll();
  return { ids, members };
}

/** Turns a bit in the middle of each 16 KiB page or so, but for the first ones, which hold SQLite's own. */
function turnBits(path: string, from: number): void {
  const bytes = readFileSync(path);
  for (let at = from; at < bytes.length; at += 16_384) bytes[at]! ^= 4;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
}

/** What may happen to all that lies in one member. */
export const harms: Readonly<Record<string, (member: Member) => void>> = {
  'bits turned': (member) => {
    for (const path of filesOf(member)) turnBits(path, Math.floor(statSync(path).size / 2));
    for (const path of volumesOf(member)) turnBits(path, 4 * 16_384 + 9000);
  },
  'files cut short': (member) => {
    for (const path of filesOf(member)) {
      chmodSync(path, 0o644);
      truncateSync(path, statSync(path).size - 1);
    }
    for (const path of volumesOf(member)) truncateSync(path, 16_384 * 3);
  },
  'files emptied': (member) => {
    for (const path of [...filesOf(member), ...volumesOf(member)]) {
      chmodSync(path, 0o644);
      truncateSync(path, 0);
    }
  },
  'files deleted': (member) => {
    for (const path of [...filesOf(member), ...volumesOf(member)]) rmSync(path);
  },
};
