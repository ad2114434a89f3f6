/** Nodes that a put of their plain bytes healed, after a rebuild: as records, files, frames and chunks, held by a root, an owner or a node. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type OpenOptions, encodeNode } from '../../engine/index.ts';
import { chunking } from './chunked-store.ts';
import { encryption, loseCatalog, rebuild } from './rebuild-store.ts';
import { type StoreFolder, noise, smallParameters, storeTest } from './store-folder.ts';

const shapes: Readonly<Record<string, OpenOptions>> = {
  'in a file': { parameters: smallParameters },
  'in a frame': { parameters: smallParameters, compression: 'always' },
  'in chunks': { parameters: { ...smallParameters, chunking } },
  'encrypted, in a frame': { parameters: smallParameters, encryption },
  'encrypted, in chunks': { parameters: { ...smallParameters, chunking }, encryption },
};

/** Turns a bit of every record of a blob. */
function spoil(folder: StoreFolder, name: Uint8Array, behind = 400): void {
  for (const path of folder.files('volumes').filter((file) => file.endsWith('.db'))) {
    const bytes = readFileSync(path);
    for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 1)) bytes[at + behind]! ^= 1;
    writeFileSync(path, bytes);
  }
}

for (const [shape, options] of Object.entries(shapes))
  storeTest(`${shape}: a large node that was put as bytes still holds what it links to`, async (folder) => {
    const keys = options.encryption === undefined ? {} : { encryption };
    let store = await folder.open(options);
    const leaves = [noise(300, 1), noise(30_000, 2), noise(400, 3)];
    const nodes = [];
    for (const [i, leaf] of leaves.entries()) {
      const { id } = await store.put(leaf);
      nodes.push((await store.put(noise(90_000, 10 + i), { links: [{ kind: 'raw', id }] })).id);
    }
    const above = await store.put(noise(10, 9), { links: [{ kind: 'node', id: nodes[2]! }] });
    await store.roots.set('root', nodes[0]!);
    await store.retain(nodes[1]!, 'owner');
    await store.roots.set('above', above.id);
    const contents = await Promise.all(nodes.map(async (id) => (await store.get(id))!));
    await store.close();
    let names: Uint8Array[] = [];
    folder.edit((db) => {
      names = db
        .prepare('SELECT id FROM blobs WHERE kind = 1 AND stored > 80000')
        .pluck()
        .all() as Uint8Array[];
    });
    assert.equal(names.length, 3);
    for (const name of names) spoil(folder, name);
    store = await folder.open({ mode: 'open', ...keys });
    assert.equal((await store.scrub()).damaged.length, 3);
    for (const content of contents) await store.put(content);
    assert.equal((await store.scrub()).damaged.length, 0);
    await store.close();
    loseCatalog(folder);
    assert.equal((await rebuild(folder, keys)).lostBlobs, 0);
    store = await folder.open({ mode: 'open', ...keys });
    await store.gc({ graceMs: 0 });
    for (const id of nodes) {
      assert.equal((await store.stat(id))!.kind, 'node');
      assert.equal((await store.getNode(id))!.links.length, 1);
    }
    assert.equal((await store.stats()).blobs - (await store.stats()).nodes >= 3, true);
    assert.deepEqual((await store.scrub()).damaged, []);
  });

storeTest('bytes that look like a node of a tree that was collected stay bytes', async (folder) => {
  let store = await folder.open();
  const leaf = await store.put(noise(30_000, 1));
  const inner = await store.put(noise(100, 2), { links: [{ kind: 'raw', id: leaf.id }] });
  const outer = encodeNode({ links: [{ kind: 'node', id: inner.id }], payload: noise(30_000, 3) });
  await store.put(noise(200, 4), { owner: 'somebody' });
  await store.gc({ graceMs: 0 });
  const { id } = await store.put(outer, { owner: 'somebody' });
  await store.close();
  // Of the inner node the record is still there, of what it links to nothing.
  loseCatalog(folder);
  const { lostBlobs, owners } = await rebuild(folder);
  assert.deepEqual({ lostBlobs, owners }, { lostBlobs: 0, owners: 2 });
  store = await folder.open({ mode: 'open' });
  assert.equal((await store.stat(id))!.kind, 'raw');
  assert.equal(Buffer.compare((await store.get(id))!, outer), 0);
  assert.equal((await store.stats()).blobs, 2);
});

storeTest('a large node that a put healed keeps a tree of which one file is gone', async (folder) => {
  let store = await folder.open();
  for (let i = 0; i < 60; i++) await store.put(noise(10_000, 90 + i));
  const files: string[] = [];
  for (const seed of [1, 2]) files.push((await store.put(noise(30_000, seed))).id);
  const inner = await store.put(noise(100, 3), { links: files.map((id) => ({ kind: 'raw', id })) });
  const outer = await store.put(noise(30_000, 4), { links: [{ kind: 'node', id: inner.id }] });
  await store.roots.set('root', outer.id);
  const content = (await store.get(outer.id))!;
  await store.close();
  spoil(folder, Buffer.from(outer.id, 'hex'), 60);
  store = await folder.open({ mode: 'open' });
  assert.deepEqual(
    (await store.scrub()).damaged.map(({ id }) => id),
    [outer.id],
  );
  await store.put(content);
  // Of the damaged record nothing is left, either.
  await store.gc({ graceMs: 0 });
  assert.equal((await store.compact()).volumes, 1);
  await store.close();
  // As a file system loses it: nothing tells of that, until what links to it is read.
  rmSync(folder.files('blobs').find((path) => path.includes(files[0]!))!);
  loseCatalog(folder);
  assert.equal((await rebuild(folder)).lostBlobs, 1);
  store = await folder.open({ mode: 'open' });
  assert.equal((await store.getNode(outer.id))!.links.length, 1);
  assert.equal((await store.getNode(inner.id))!.links.length, 2);
  assert.equal((await store.stat(files[1]!))!.references, 1);
  folder.leaves([files[0]!]);
});
