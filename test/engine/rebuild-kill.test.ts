/** Rebuilds that end in the middle, at each call to the file system and by kill -9: the store is as it was or says so, and is rebuilt again. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Store, StoreError, nodeHost, openStore, rebuildStore } from '../../engine/index.ts';
import { full, sample } from '../crash/sample.ts';
import { faultyHost } from '../world/faulty-host.ts';
import { type Told, fill, rebuild, tell } from './rebuild-store.ts';
import { type StoreFolder, storeTest } from './store-folder.ts';

const kills = Number(process.env['HOLDFAST_REBUILD_KILLS'] ?? 2);
const inline = { threads: { count: 0 } } as const;

/** What has to be there whatever happened: blobs that something refers to, roots. */
function held({ blobs, roots }: Told): unknown {
  return { blobs: blobs.filter(({ references }) => references > 0), roots };
}

async function collected(path: string): Promise<unknown> {
  const store: Store = await openStore(path, { mode: 'open', ...inline });
  try {
    const { damaged, recounted, badRows, adopted } = await store.scrub();
    assert.deepEqual([damaged, recounted, badRows, adopted], [[], 0, 0, 0]);
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    return held(await tell(store));
  } finally {
    await store.close();
  }
}

/** What the store can be when a rebuild of it begins. */
const states: Readonly<Record<string, (path: string) => void>> = {
  'its catalog lost': (path) => rmSync(join(path, 'index.db')),
  'a catalog that is sound': () => undefined,
  'its catalog lost and a volume damaged': (path) => {
    rmSync(join(path, 'index.db'));
    for (const name of readdirSync(join(path, 'volumes')).filter((file) => file.endsWith('.db'))) {
      const bytes = readFileSync(join(path, 'volumes', name));
      writeFileSync(join(path, 'volumes', name), bytes.fill(0, 0, 200));
    }
  },
};

for (const [turn, [what, spoil]] of Object.entries(states).entries()) {
  storeTest(
    `with ${what}: a rebuild that stops at any call leaves nothing worse`,
    async (folder, t) => {
      await fill(folder, 'chunked');
      const before = held(await told(folder));
      const spoiled = join(folder.side, 'spoiled');
      cpSync(folder.path, spoiled, { recursive: true });
      spoil(spoiled);
      const fresh = (name: string): string => {
        const path = join(folder.side, name);
        cpSync(spoiled, path, { recursive: true });
        return path;
      };
      const recorder = faultyHost(nodeHost({ inline: true }));
      await rebuildStore(fresh('whole'), { host: recorder });
      // How often room is asked for goes by the clock.
      const calls = recorder.calls.filter(({ operation }) => operation !== 'space');
      const operations = [...new Set(calls.map(({ operation }) => operation))];
      const first = calls.findIndex(
        ({ operation, path }) => operation === 'rename' && path.includes('rebuilt'),
      );
      assert.ok(first > 0);
      // All of the end, where files change their places, and some of what comes before. HOLDFAST_REBUILD_STOPS=all is every call.
      const all = process.env['HOLDFAST_REBUILD_STOPS'] === 'all';
      const chosen = calls
        .map((_, i) => i + 1)
        .filter((nth) => all || nth > first - 4 || nth % sample(101, 251) === 0)
        // In a sample each of these tests takes others.
        .filter((nth) => all || full || (nth >> 1) % 3 === turn);
      for (const nth of chosen) {
        const path = fresh(`run-${nth}`);
        const host = faultyHost(nodeHost({ inline: true }));
        host.arm({ code: 'EIO', operations, nth, lasts: 'sticky', effect: nth % 2 === 0 ? 'none' : 'whole' });
        await assert.rejects(rebuildStore(path, { host }));
        const { operation, path: at } = calls[nth - 1]!;
        try {
          await openOrRebuild(path);
          assert.deepEqual(await collected(path), before);
        } catch (error) {
          throw new Error(`call ${nth}: ${operation} ${at}`, { cause: error });
        }
        rmSync(path, { recursive: true });
      }
      t.diagnostic(`${chosen.length} of ${calls.length} calls`);
    },
    existsSync('/dev/shm') ? { under: '/dev/shm' } : {},
  );
}

/** As it was, or `needs-rebuild` and then rebuilt. */
async function openOrRebuild(path: string): Promise<void> {
  try {
    await (await openStore(path, { mode: 'open', ...inline })).close();
  } catch (error) {
    if (!StoreError.is(error, 'needs-rebuild')) throw error;
    const { lostBlobs, gap } = await rebuildStore(path, inline);
    assert.deepEqual([lostBlobs, gap], [0, undefined]);
  }
}

async function told(folder: StoreFolder): Promise<Told> {
  const store = await folder.open({ mode: 'open' });
  const all = await tell(store);
  await store.close();
  return all;
}

const script = fileURLToPath(new URL('./rebuild-child.ts', import.meta.url));

/** True when it was killed before it was done. */
async function killed(path: string, afterMs: number): Promise<boolean> {
  const child = fork(script, [path], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: [] });
  let done = false;
  child.on('message', () => (done = true));
  const ended = new Promise((resolve) => child.on('exit', resolve));
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, afterMs))]);
  child.kill('SIGKILL');
  await ended;
  return !done;
}

storeTest(
  `killed ${kills} times in the middle, a rebuild gives in the end what there was`,
  async (folder, t) => {
    await fill(folder, 'extended, striped');
    const before = held(await told(folder));
    let interrupted = 0;
    for (let kill = 0; kill < kills; kill++) {
      if (kill % 3 === 0) rmSync(folder.at('index.db'), { force: true });
      if (await killed(folder.path, 250 + Math.random() * 1200)) interrupted++;
    }
    t.diagnostic(`${interrupted} of ${kills} interrupted`);
    if (!existsSync(folder.at('index.db'))) await rebuild(folder);
    assert.deepEqual(await collected(folder.path), before);
  },
);
