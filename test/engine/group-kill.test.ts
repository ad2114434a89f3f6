/** Processes that move blobs between volumes are killed at random moments: nothing is lost, and whoever comes next goes on. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import type { MoverReport } from './group-child.ts';
import { type StoreFolder, noise, putAll, sha256, smallParameters, storeTest } from './store-folder.ts';
import { sample } from '../crash/sample.ts';

const kills = Number(process.env['HOLDFAST_MOVE_KILLS'] ?? sample(3, 2));
const script = fileURLToPath(new URL('./group-child.ts', import.meta.url));
const parameters = { ...smallParameters, volumeBytesMax: 1024 * 1024 };

/** Runs a child until it has moved for a while, and kills it; returns what it was told was durable. */
async function killed(path: string, seed: number): Promise<{ puts: BlobId[]; moving: string }> {
  const child = fork(script, [path, String(seed)], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    execArgv: [],
  });
  const puts: BlobId[] = [];
  let moving = '';
  let stderr = '';
  child.stderr!.on('data', (bytes: Buffer) => void (stderr += bytes.toString()));
  const begun = new Promise<void>((resolve) => {
    child.on('message', (report: MoverReport) => {
      if ('put' in report) puts.push(report.put);
      else {
        moving = report.moving;
        resolve();
      }
    });
  });
  const ended = new Promise<string>((resolve) =>
    child.on('exit', (code, signal) => resolve(String(signal ?? code))),
  );
  await Promise.race([begun, ended]);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 250));
  child.kill('SIGKILL');
  assert.equal(await ended, 'SIGKILL', `the child ended by itself: ${stderr}`);
  return { puts, moving };
}

async function readsAll(store: Store, ids: Iterable<BlobId>): Promise<void> {
  for (const id of ids) {
    const bytes = await store.get(id);
    assert.ok(bytes !== undefined, `${id} is lost`);
    assert.equal(sha256(bytes), id);
  }
}

/** Files of blobs and SQLite volumes in a folder. */
function bytesIn(path: string): string[] {
  return readdirSync(path, { recursive: true })
    .map(String)
    .filter((name) => /[0-9a-f]{64}\.|\.db$/.test(name));
}

async function settle(folder: StoreFolder, ids: ReadonlySet<BlobId>): Promise<void> {
  const store = await folder.open({ mode: 'open' });
  await store.compact();
  const list = await store.volumes.list();
  assert.deepEqual(
    list.filter(({ state }) => state === 'draining'),
    [],
  );
  const disk = list.find(({ kind, id }) => kind === 'directory' && id !== 'blobs')!;
  const packs = list.find(({ kind }) => kind === 'folder')!;
  await store.volumes.reduce(disk.id);
  await store.volumes.reduce(packs.id);
  await readsAll(store, ids);
  const { adopted, damaged, recounted, badRows } = await store.scrub();
  assert.deepEqual([adopted, damaged, recounted, badRows], [0, [], 0, 0]);
  const { blocked } = await store.gc({ graceMs: 0 });
  assert.equal(blocked, undefined);
  await readsAll(store, ids);
  const inside = await store.stats();
  assert.equal(
    bytesIn(folder.at('blobs')).length + 0,
    (await store.volumes.list())[0]!.blobs,
    'no second copy is left',
  );
  assert.ok(inside.blobs >= ids.size);
  for (const path of ['disk', 'packs']) assert.deepEqual(bytesIn(join(folder.side, path)), []);
}

storeTest(
  `killed ${kills} times in the middle of moves, a store loses nothing, and the moves end`,
  async (folder) => {
    const ids = new Set<BlobId>();
    let store = await openStore(folder.path, { threads: { count: 0 }, parameters });
    const sources = Array.from({ length: 60 }, (_, i) =>
      noise(i % 3 === 0 ? 60_000 + i * 1000 : 9000 + i, i),
    );
    for (const id of await putAll(store, sources, 'x')) ids.add(id);
    for (let i = 0; i < 5; i++)
      for (const id of await putAll(
        store,
        Array.from({ length: 60 }, (_, k) => noise(8000, 1000 + 60 * i + k)),
        'x',
      ))
        ids.add(id);
    await store.volumes.extend(join(folder.side, 'disk'));
    await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
    await store.close();
    let interrupted = 0;
    // Where a kill falls is chance, and load has a part in it: on until one fell into a move.
    for (let kill = 0; kill < kills || (interrupted === 0 && kill < 10 * kills); kill++) {
      const { puts } = await killed(folder.path, kill);
      for (const id of puts) ids.add(id);
      store = await openStore(folder.path, { mode: 'open', threads: { count: 0 } });
      if ((await store.volumes.list()).some(({ state }) => state === 'draining')) interrupted++;
      assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
      await readsAll(store, ids);
      if (kill % 5 === 4) {
        const { damaged, recounted, badRows } = await store.scrub();
        assert.deepEqual([damaged, recounted, badRows], [[], 0, 0]);
      }
      await store.close();
    }
    assert.ok(interrupted > 0, 'no kill came in the middle of a move');
    await settle(folder, ids);
  },
);
