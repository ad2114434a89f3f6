/** Which Node may run the library: an old one is refused in words before native code loads, this one enters by every door. */
import assert from 'node:assert/strict';
import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
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

test('a program is made one file: each module runs once and when it is needed, and what cannot be taken is refused', async (t) => {
  const { bundle } = (await import(new URL('toolchain/bundle.mjs', import.meta.url).href)) as {
    bundle: (folder: string, entry: string) => { readonly code: string };
  };
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bundle-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const write = (files: Readonly<Record<string, string>>): void => {
    for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  };
  mkdirSync(join(folder, 'deep'));
  write({
    'main.mjs': `import { order } from './order.mjs';
import {
  one as first,
  Two,
} from './deep/door.mjs';
export const told = [first(), new Two().value, import.meta.url];
export const later = async () => [...told.slice(0, 2), (await import('./deep/late.mjs')).late, ...order];
`,
    'order.mjs': `export const order = [];
`,
    'deep/door.mjs': `export * from './parts.mjs';
export { two as Two } from './parts.mjs';
`,
    'deep/parts.mjs': `import { order } from '../order.mjs';
import { basename as last } from 'node:path';
order.push('parts');
export function one() { return last('/a/one'); }
class two { value = 2; }
export { two };
`,
    'deep/late.mjs': `import { order } from '../order.mjs';
order.push('late');
export const late = new URL('x', import.meta.url).pathname;
`,
  });
  write({ 'made.mjs': bundle(folder, 'main.mjs').code });
  const made = (await import(pathToFileURL(join(folder, 'made.mjs')).href)) as {
    told: unknown[];
    later: () => Promise<unknown[]>;
  };
  assert.deepEqual(made.told, ['one', 2, pathToFileURL(join(folder, 'main.mjs')).href]);
  for (let i = 0; i < 2; i++)
    assert.deepEqual(await made.later(), [
      'one',
      2,
      pathToFileURL(join(folder, 'deep/x')).pathname,
      'parts',
      'late',
    ]);
  for (const wrong of ['export let a = 1;', 'export default 1;', "import './order.mjs';", 'export var b;']) {
    write({ 'wrong.mjs': wrong });
    assert.throws(() => bundle(folder, 'wrong.mjs'), /wrong\.mjs cannot be bundled/, wrong);
  }
});

test('an error that nobody catches, and a promise that nobody hears, fail their file as npm test runs it', (context) => {
  const folder = emptyFolder(context);
  const files = ['throw new Error("lost")', 'void Promise.reject(new Error("lost"))'].map((words, i) => {
    const body = `setTimeout(() => { ${words}; }, 1); await new Promise((resolve) => setTimeout(resolve, 20));`;
    const file = join(folder, `${String(i)}.test.mjs`);
    writeFileSync(file, `import { test } from 'node:test';\ntest('fine', async () => { ${body} });\n`);
    return file;
  });
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const args = [
    '--require',
    join(root, 'test/toolchain/untracked.cjs'),
    '--test',
    '--test-reporter=spec',
    ...files,
  ];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8', env });
  assert.equal(status, 1, stdout);
  assert.match(stdout, /^ℹ fail 2$/m);
  assert.equal(stdout.match(/created the error "Error: lost"/g)?.length, 2, stdout);
});
