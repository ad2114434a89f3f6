// Runs the tests: temporary folders in memory where there is room, and one compile cache for all processes and threads.
// What follows `npm test --` is passed on; files named there are run instead of all.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { enableCompileCache, flushCompileCache } from 'node:module';
import { availableParallelism, constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isStale } from './build.mjs';
import { gather } from './together.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cache = join(root, 'node_modules', '.cache', 'holdfast-tests');

/** Of tmpfs, as statfs tells it. */
const tmpfs = 0x01021994;
const roomNeeded = 4 * 1024 ** 3;

/**
 * A folder in memory for the temporary folders: a file made there costs a fiftieth of one on ext4. What a disk may lose is not
 * judged by the disk below, but by the recorder of test/crash. TMPDIR, where it is set, comes first: `.ci/run` sets it to a disk.
 */
function memoryFolder() {
  if (process.env['TMPDIR']) return undefined;
  try {
    const { type, bavail, bsize } = statfsSync('/dev/shm');
    if (type !== tmpfs || Math.min(bavail * bsize, process.availableMemory()) < roomNeeded) return undefined;
    const folder = mkdtempSync('/dev/shm/holdfast-tests-');
    chmodSync(folder, 0o1777); // some tests become an ordinary user
    // Containers may forbid to execute what lies there; some tests make programs.
    const program = join(folder, 'program');
    writeFileSync(program, '#!/bin/sh\n', { mode: 0o755 });
    const { status } = spawnSync(program);
    rmSync(program);
    if (status === 0) return folder;
    rmdirSync(folder);
  } catch {
    // Another system: the usual temporary folder will do.
  }
  return undefined;
}

/**
 * Fills the cache before anybody needs it: processes that are killed and threads that are stopped, as most are here, would leave
 * nothing in it. It starts empty: else the temporary copies of the engine that some tests make would gather in it.
 */
async function warm() {
  rmSync(cache, { recursive: true, force: true });
  enableCompileCache(cache);
  const within = (...tops) =>
    tops.flatMap((top) =>
      readdirSync(join(root, top), { recursive: true })
        .filter((name) => /\.(?:ts|js)$/.test(name) && !name.endsWith('.d.ts'))
        .map((name) => pathToFileURL(join(root, top, name)).href),
    );
  // What cannot be imported is for the tests to tell.
  await Promise.allSettled(
    [
      ...within('engine', 'sync', 'src/snapshot', ...(built ? ['dist/engine/threads'] : [])),
      'fast-check',
    ].map((name) => import(name)),
  );
  // The others must not run here. A module is compiled with all it names before any of it runs, and the first of these ends it.
  for (const name of within('src/cli', 'src/http', 'test', 'fuzz', 'bench')) {
    const names = ['data:text/javascript,throw 0', name].map((one) => `import ${JSON.stringify(one)};`);
    await import(`data:text/javascript,${encodeURIComponent(names.join(''))}`).catch(() => undefined);
  }
  flushCompileCache();
}

/** Where dist is not what the sources are, threads start from the sources. */
const built = !isStale();

/** Files at once. One more than there are cores: some wait for a child, a timer or a disk. Not many more: they take memory. */
const atOnce = Math.min(8, availableParallelism() + 1);

await warm();
const memory = memoryFolder();
// Not below node_modules: what lies there is no test to Node.
const processes = mkdtempSync(join(memory ?? tmpdir(), 'holdfast-test-processes-'));
const given = process.argv.slice(2);
const files = given.some((argument) => argument.endsWith('.ts'))
  ? []
  : gather(root, processes, process.env['HOLDFAST_SAMPLES'] === 'full');
const child = spawn(
  process.execPath,
  ['--test', `--test-concurrency=${atOnce}`, '--test-timeout=240000', ...given, ...files],
  {
    cwd: root,
    stdio: 'inherit',
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: cache,
      // What the tests start takes it from here.
      NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --require=${JSON.stringify(join(root, 'test/toolchain/preload.cjs'))}`,
      ...(built ? { HOLDFAST_BUILT: 'fresh' } : {}),
      ...(memory === undefined ? {} : { TMPDIR: memory }),
    },
  },
);
// A terminal signals the tests too; whoever stops only this process means them as well.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
  rmSync(processes, { recursive: true, force: true });
  if (memory === undefined) return;
  // Tests that fail keep their folders.
  if (code === 0) rmSync(memory, { recursive: true, force: true });
  else
    console.error(
      `holdfast: what failed tests left is in ${memory}, in memory; remove it when you have seen it.`,
    );
});
