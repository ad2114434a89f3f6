/** Which Node may run the library: an old one is refused in words before native code loads, this one enters by every door. */
import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, isAbsolute, join, relative } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const doors = ['dist/src/index.js', 'dist/engine/index.js'];

function isOld(version: string): boolean {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  return major < 22 || (major === 22 && minor < 14);
}

/** The first Node of this machine older than 22.14. */
function oldNode(): { path: string; version: string } | undefined {
  const folders = ['/usr/bin', '/usr/local/bin', ...(process.env['PATH'] ?? '').split(delimiter)];
  const programs = folders.flatMap((folder) => ['node', 'nodejs'].map((name) => join(folder, name)));
  const real = new Set(programs.filter((path) => existsSync(path)).map((path) => realpathSync(path)));
  for (const path of real) {
    const version = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout?.trim() ?? '';
    if (/^v\d+\./.test(version) && isOld(version)) return { path, version };
  }
  return undefined;
}

const old = oldNode();
if (old === undefined)
  console.error('SKIPPED LOUDLY: no Node older than 22.14 here; the refusal is not tested.');
const skip = old === undefined ? 'no Node older than 22.14 on this machine' : false;

function runOld(args: readonly string[]): SpawnSyncReturns<string> {
  const env = { ...process.env, NODE_OPTIONS: '', NODE_TEST_CONTEXT: '' };
  return spawnSync(old!.path, args, { cwd: root, encoding: 'utf8', timeout: 30_000, env });
}

function emptyFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-runtime-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

for (const door of doors) {
  test(`${door} on an old Node refuses to open a store, readably`, { skip }, (context) => {
    assert.ok(existsSync(join(root, door)), `${door} is missing: npm run build`);
    const folder = emptyFolder(context);
    const url = pathToFileURL(join(root, door)).href;
    const program = `
      const { openStore } = await import(${JSON.stringify(url)});
      try {
        await openStore(${JSON.stringify(folder)});
        console.log(JSON.stringify({ opened: true }));
      } catch (error) {
        console.log(JSON.stringify({ name: error.name, code: error.code, message: error.message }));
      }`;
    const ran = runOld(['--input-type=module', '--eval', program]);
    assert.equal(ran.signal, null, `Node ${old!.version} was ended by ${String(ran.signal)}: ${ran.stderr}`);
    assert.equal(ran.status, 0, ran.stderr);
    const said = JSON.parse(ran.stdout) as Record<string, unknown>;
    assert.equal(said['code'], 'unsupported-runtime', ran.stdout);
    assert.equal(said['name'], 'StoreError');
    assert.match(String(said['message']), /22\.14/, 'the message says which Node is needed');
    assert.match(
      String(said['message']),
      new RegExp(old!.version.slice(1).replaceAll('.', '\\.')),
      'and which one this is',
    );
    assert.deepEqual(readdirSync(folder), [], 'nothing was written');
  });
}

test('the command line on an old Node refuses in one line', { skip }, (context) => {
  const folder = emptyFolder(context);
  const ran = runOld([join(root, 'dist/src/cli/main.js'), 'init', join(folder, 'store')]);
  assert.equal(ran.signal, null, ran.stderr);
  assert.equal(ran.status, 1, ran.stderr);
  assert.match(ran.stderr, /22\.14/);
  assert.doesNotMatch(ran.stderr, /^\s+at /m, 'no stack trace');
  assert.deepEqual(readdirSync(folder), []);
});

test('this Node enters by every door, with import and with require', async () => {
  const require = createRequire(import.meta.url);
  const withStore = ['holdfast', 'holdfast/engine'];
  for (const name of [...withStore, 'holdfast/sync']) {
    const imported = (await import(name)) as Record<string, unknown>;
    const required = require(name) as Record<string, unknown>;
    if (!withStore.includes(name)) continue;
    assert.equal(typeof imported['openStore'], 'function', `import('${name}')`);
    assert.equal(typeof required['openStore'], 'function', `require('${name}')`);
  }
});

test('what starts a process or a thread loads a few files', () => {
  const dist = join(root, 'dist');
  const loaded = (path: string, known = new Set<string>()): Set<string> => {
    if (known.has(path)) return known;
    known.add(path);
    const from = /^(?:import|export|\}) ?(?:[^"';]*from )?["'](\.[^"']+)["'];$/gm;
    for (const [, next] of readFileSync(path, 'utf8').matchAll(from)) loaded(join(path, '..', next!), known);
    return known;
  };
  for (const program of [
    'src/cli/main',
    'engine/threads/commit',
    'engine/threads/work',
    'engine/threads/rebuild',
  ])
    assert.ok(loaded(join(dist, `${program}.js`)).size < 20, program);
  // The same measure sees many where the modules are as they were compiled.
  assert.ok(loaded(join(dist, 'engine/index.js')).size > 40);
});

test('every file of tests is run once, whoever shares a process; in full each has its own', async (context) => {
  const { gather } = (await import(new URL('./toolchain/together.mjs', import.meta.url).href)) as {
    gather: (this: void, root: string, folder: string, alone: boolean) => string[];
  };
  const folder = join(emptyFolder(context), 'processes');
  const all = gather(root, folder, true);
  assert.ok(all.includes(join('test', 'runtime.test.ts')) && !existsSync(folder));
  const run = gather(root, folder, false).flatMap((file) =>
    file.startsWith(folder)
      ? [...readFileSync(file, 'utf8').matchAll(/"(file:.*)"/g)].map(([, url]) =>
          relative(root, fileURLToPath(url!)),
        )
      : [isAbsolute(file) ? relative(root, file) : file],
  );
  assert.deepEqual(run.toSorted(), all);
});
