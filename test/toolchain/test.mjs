// Runs the tests with one compile cache for all their processes and threads: without it each of them strips the engine's types anew.
// What follows `npm test --` is passed on; files named there are run instead of all.
import { spawn } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { enableCompileCache, flushCompileCache } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const cache = join(root, 'node_modules', '.cache', 'holdfast-tests');

/**
 * Fills the cache before anybody needs it: processes that are killed and threads that are stopped, as most are here, would leave
 * nothing in it. It starts empty: else the temporary copies of the engine that some tests make would gather in it.
 */
async function warm() {
  rmSync(cache, { recursive: true, force: true });
  enableCompileCache(cache);
  const modules = ['engine', 'sync', 'src/snapshot'].flatMap((top) =>
    readdirSync(join(root, top), { recursive: true })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => pathToFileURL(join(root, top, name)).href),
  );
  // What cannot be imported is for the tests to tell.
  await Promise.allSettled([...modules, 'fast-check'].map((name) => import(name)));
  flushCompileCache();
}

await warm();
const given = process.argv.slice(2);
const files = given.some((argument) => argument.endsWith('.ts')) ? [] : ['test/**/*.test.ts'];
const child = spawn(
  process.execPath,
  ['--test', '--test-concurrency=2', '--test-timeout=240000', ...given, ...files],
  { cwd: root, stdio: 'inherit', env: { ...process.env, NODE_COMPILE_CACHE: cache } },
);
// A terminal signals the tests too; whoever stops only this process means them as well.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => {
  process.exitCode = code ?? 128 + constants.signals[signal];
});
