/** What is known of thousands of files is found nowhere on disk: while they are put, after a kill, after collection and damage. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type OpenOptions, importPaths, openStore } from '../../../src/index.ts';
import { sha256, smallParameters, text } from '../store-folder.ts';
import { Search, contentOf, nameOf, secret } from './known.ts';
import { sample } from '../../crash/sample.ts';

/** Of each layout. `HOLDFAST_KNOWN_FILES=10000` is the full number, in every layout. */
const count = Number(process.env['HOLDFAST_KNOWN_FILES'] ?? sample(50, 24));
const every: Readonly<Record<string, OpenOptions>> = {
  hybrid: {},
  compressed: { compression: 'always' },
  chunked: { chunking: { mode: 'fastcdc', least: 4096, average: 8192, greatest: 16_384 } },
  'sqlite-only': { layout: 'sqlite-only' },
};
const { compressed } = every;
const layouts = process.env['HOLDFAST_KNOWN_FILES'] === undefined ? { compressed } : every;
const script = fileURLToPath(new URL('./secrecy-child.ts', import.meta.url));
const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-secrecy-'));
const search = new Search();
for (let i = 0; i < count; i++) search.addFile(i);

test.after(() => rmSync(base, { recursive: true, force: true }));

test('the search finds what is there', () => {
  const folder = join(base, 'plain');
  mkdirSync(folder);
  const bytes = Buffer.alloc(5000);
  bytes.set(contentOf(7).subarray(0, 16), 1234);
  bytes.write(sha256(contentOf(3)), 3001);
  bytes.write(`root ${nameOf(9)}`, 4000);
  writeFileSync(join(folder, 'f'), bytes);
  const { found } = search.in(folder);
  assert.deepEqual(
    found.map((what) => what.replace(/ at .*/, '')).sort(),
    [
      'content of file 7 in f',
      'id of file 3 as text in f',
      ...found.filter((what) => what.startsWith('name')),
    ]
      .map((what) => what.replace(/ at .*/, ''))
      .sort(),
  );
  assert.ok(found.some((what) => what.startsWith('name')));
});

for (const [name, options] of Object.entries(layouts))
  test(`nothing of ${count} known files is found on disk: ${name}`, async (t) => {
    const [path, side] = [join(base, name), join(base, `${name}-side`)];
    mkdirSync(side);
    let looked = 0;
    const tellsNothing = (when: string): void => {
      const { found, bytes } = search.in(path);
      assert.deepEqual(found.slice(0, 5), [], when);
      looked += bytes;
    };
    const child = fork(script, [path, side, JSON.stringify(options), String(count)], {
      execArgv: [],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const ended = new Promise<string>((resolve) =>
      child.on('exit', (code, signal) => resolve(String(signal ?? code))),
    );
    let put = 0;
    await new Promise<void>((resolve) =>
      child.on('message', () => {
        if (++put === Math.floor(count / 3)) tellsNothing('while they are put');
        if (put >= (2 * count) / 3) resolve();
      }),
    );
    child.kill('SIGKILL');
    assert.equal(await ended, 'SIGKILL');
    tellsNothing('after the process was killed');

    const open = {
      threads: { count: 0 },
      parameters: smallParameters,
      encryption: { secret },
      ...options,
    } as const;
    const store = await openStore(path, { durability: 'relaxed', ...open });
    const folder = join(side, 'a folder to import');
    mkdirSync(folder);
    for (let i = 0; i < 40; i++) writeFileSync(join(folder, nameOf(i)), contentOf(i));
    const { root } = await importPaths(store, [folder]);
    await store.roots.set(`root ${nameOf(0)}`, root);
    await importPaths(store, [folder]);
    spoilFiles(path);
    await store.scrub();
    for (let i = 0; i < 40; i++) await store.put(contentOf(i));
    tellsNothing('while it is open');
    await store.roots.delete(`root ${nameOf(0)}`);
    await store.gc({ graceMs: 0 });
    await store.compact();
    await store.keys.rotate();
    await store.keys.reseal();
    const stray: string[] = [];
    for await (const { id } of store.list()) stray.push(id);
    assert.deepEqual(
      (await store.scrub()).damaged.filter(({ id }) => !stray.includes(id)),
      [],
    );
    await store.close();
    tellsNothing('in the end');
    t.diagnostic(`${looked} bytes looked through`);
  });

/** Turns a byte of some files, so that what heals them sets them aside. */
function spoilFiles(path: string): void {
  const files = readdirSync(join(path, 'blobs'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.f'),
  );
  for (const file of files.slice(0, 3)) {
    const bytes = readFileSync(join(path, 'blobs', file));
    bytes[bytes.length >> 1]! ^= 1;
    chmodSync(join(path, 'blobs', file), 0o644);
    writeFileSync(join(path, 'blobs', file), bytes);
  }
}

test('text for a person to find is found by the search as well', () => {
  const folder = join(base, 'names');
  mkdirSync(folder);
  writeFileSync(join(folder, nameOf(1)), text('x'));
  assert.equal(search.in(folder).found.length, 1);
});
