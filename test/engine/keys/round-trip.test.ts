/** Encrypted stores at the edges of chunks, in groups of volumes, as snapshots, and after a kill in the middle of sealing anew. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type OpenOptions, importPaths, restoreTree } from '../../../src/index.ts';
import { collect, inPieces, noise, putAll, same, sha256, storeTest } from '../store-folder.ts';
import { secret } from './known.ts';

const keyed: OpenOptions = { encryption: { secret, padding: 'padme' }, durability: 'relaxed' };
const under = existsSync('/dev/shm') ? { under: '/dev/shm' } : {};
const chunk = 4096;

storeTest(
  'blobs of no bytes, of whole chunks, and of one byte more or less: as records, as files, padded, by ranges and as streams',
  async (folder) => {
    const store = await folder.open({ ...keyed, compression: 'auto' });
    const sizes = [0, 1, ...[1, 2, 4, 5, 17].flatMap((k) => [k * chunk - 1, k * chunk, k * chunk + 1])];
    for (const size of sizes) {
      for (const content of [noise(size, size), new Uint8Array(size).fill(7)]) {
        const source = size % 2 === 0 ? content : inPieces(content, 1000);
        const { id } = await store.put(source);
        assert.equal(id, sha256(content));
        same(await store.get(id), content);
        assert.equal((await store.stat(id))?.size, size);
        for (const [offset, length] of [
          [0, chunk],
          [chunk - 1, 2],
          [chunk, chunk + 1],
          [size - 1, 5],
          [size, 1],
        ] as const) {
          const from = Math.max(0, offset);
          same(await store.readRange(id, from, length), content.subarray(from, from + length));
        }
        const stream = await store.stream(id, { offset: Math.min(size, chunk + 1) });
        const pieces = await collect(stream as unknown as AsyncIterable<Uint8Array>);
        same(Buffer.concat(pieces), content.subarray(Math.min(size, chunk + 1)));
      }
    }
    assert.deepEqual((await store.scrub()).damaged, []);
  },
  under,
);

storeTest(
  'volumes are added, filled, moved and taken away, with keys and without',
  async (folder) => {
    let store = await folder.open(keyed);
    const contents = Array.from({ length: 20 }, (_, i) => noise(i % 2 === 0 ? 20_000 + i : 500 + i, i));
    const disk = await store.volumes.extend(join(folder.side, 'disk'));
    const packs = await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
    await putAll(store, contents, 'me');
    await store.volumes.move('blobs', disk.id);
    for (const content of contents) same(await store.get(sha256(content)), content);
    await folder.closeAll();
    // Whoever has no key can do this as well: stored bytes are moved as they are stored.
    store = await folder.open();
    await store.volumes.reduce(disk.id);
    await store.volumes.reduce(packs.id);
    assert.deepEqual((await store.scrub()).damaged, []);
    await folder.closeAll();
    store = await folder.open(keyed);
    for (const content of contents) same(await store.get(sha256(content)), content);
    assert.equal(
      (await store.volumes.list()).some(({ id }) => id === disk.id),
      false,
    );
  },
  under,
);

storeTest(
  'a folder goes in as a snapshot, and comes out as it was; what is there already is known again',
  async (folder) => {
    const store = await folder.open(keyed);
    const tree = join(folder.side, 'tree');
    mkdirSync(join(tree, 'inner'), { recursive: true });
    const files = new Map([
      ['empty', new Uint8Array(0)],
      ['words', Buffer.from('said again. '.repeat(900))],
      [join('inner', 'ä large one'), noise(70_000, 9)],
    ]);
    for (const [name, content] of files) writeFileSync(join(tree, name), content);
    const { root } = await importPaths(store, [tree]);
    assert.equal((await importPaths(store, [tree])).root, root);
    assert.equal(await store.roots.get('main'), root);
    const out = join(folder.side, 'out');
    await restoreTree(store, root, out);
    for (const [name, content] of files) same(readFileSync(join(out, 'tree', name)), content);
  },
  under,
);

const kills = Number(process.env['HOLDFAST_RESEAL_KILLS'] ?? 1);

storeTest(
  `killed ${kills} times while everything is sealed anew: nothing is lost, and it can be gone on with`,
  async (folder) => {
    const contents = Array.from({ length: 60 }, (_, i) => noise(i % 6 === 0 ? 20_000 + i : 300 + i, i));
    await putAll(await folder.open(keyed), contents, 'me');
    await folder.closeAll();
    for (let kill = 0; kill < kills; kill++) {
      const child = fork(fileURLToPath(new URL('./reseal-child.ts', import.meta.url)), [folder.path], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      const ended = new Promise<string>((resolve) =>
        child.on('exit', (code, signal) => resolve(String(signal ?? code))),
      );
      let told = 0;
      await new Promise<void>((resolve) => {
        child.on('message', () => ++told > 2 + 5 * kill && resolve());
        void ended.then(() => resolve());
      });
      child.kill('SIGKILL');
      assert.equal(await ended, 'SIGKILL');
      const store = await folder.open(keyed);
      for (const content of contents) same(await store.get(sha256(content)), content);
      const { damaged, recounted, badRows } = await store.scrub();
      assert.deepEqual([damaged, recounted, badRows], [[], 0, 0]);
      await store.keys.reseal();
      assert.equal((await store.keys.list()).behind, 0);
      for (const content of contents) assert.equal((await store.stat(sha256(content)))?.references, 1);
      await folder.closeAll();
      folder.edit((db) => {
        const living = 'SELECT count(*) FROM blobs JOIN freed USING (volume, extent, start)';
        assert.equal(db.prepare(living).pluck().get(), 0);
      });
    }
  },
  under,
);
