/** Encrypted stores on the command line: how they are made and opened, what works without keys, how keys change, and what never leaks. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { openSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openStore } from '../../engine/index.ts';
import { listenHttp, pull, spawnTransport, syncHandler } from '../../src/index.ts';
import { compareTrees } from '../../src/cli/compare.ts';
import { type Ended, holdfast, holdfastRunning, main, workFolder, writeFiles } from './command.ts';

/** Runs a command in a folder of keys and files; what is given as `input` comes through what stands there as descriptor 0. */
type Run = (line: string, input?: string | Uint8Array) => Promise<Ended>;

function workplace(t: TestContext): { readonly folder: string; readonly run: Run } {
  const folder = workFolder(t);
  writeFiles(folder, {
    key: Buffer.alloc(64, 'k'),
    wrong: Buffer.alloc(64, 'w'),
    short: Buffer.alloc(31, 's'),
    long: Buffer.alloc(1024 * 1024 + 1, 'l'),
    'photos/letter.txt': 'words that nobody else is to read',
    'photos/sub/large.jpg': Buffer.alloc(700_000, 'jpeg'),
  });
  // A command that waits for somebody who is not there is a failure, not a test that hangs.
  const options = { cwd: folder, timeout: 60_000 };
  const run: Run = async (line, input) => {
    const args = line.split(' ');
    if (input === undefined) return await holdfast(args, options);
    // It runs in this process, where 0 is not its own.
    writeFileSync(join(folder, 'input'), input);
    const descriptor = String(openSync(join(folder, 'input'), 'r'));
    return await holdfast(
      args.map((arg, i) => (args[i - 1]?.endsWith('-fd') === true ? descriptor : arg)),
      options,
    );
  };
  return { folder, run };
}

function refused(ended: Ended, exit: number, code: string): void {
  assert.deepEqual([ended.exit, ended.json?.error?.code], [exit, code], ended.stderr);
  assert.match(ended.stderr, new RegExp(`^holdfast: .* \\(${code}\\)$`, 'm'));
}

test('a snapshot goes into an encrypted store and comes back; without the key it is looked after, not read', async (t) => {
  const { folder, run } = workplace(t);
  const made = await run('init store --encrypt --key-file key --recovery --padding padme --json');
  assert.equal(made.exit, 0, made.stderr);
  const { encryption, slots, recoveryKey, created } = made.json;
  assert.deepEqual([created, encryption.padding], [true, 'padme']);
  assert.match(encryption.realm, /^[0-9a-f]{32}$/);
  assert.deepEqual(
    slots.map(({ kind, derivation }: Record<string, string>) => [kind, derivation]),
    [
      ['key-file', 'hkdf'],
      ['recovery-key', 'hkdf'],
    ],
  );
  const again = await run('init store --json');
  assert.deepEqual([again.json.created, again.json.encryption], [false, encryption]);

  assert.equal((await run('add store photos --key-file key')).exit, 0);
  refused(await run('ls store --json'), 1, 'wrong-key');
  refused(await run('cat store main:photos/letter.txt --key-file wrong --json'), 1, 'wrong-key');
  const got = await run('get store main out --recovery-key-fd 0', `${recoveryKey.toLowerCase()}\n`);
  assert.equal(got.exit, 0, got.stderr);
  const compared = await compareTrees(join(folder, 'photos'), join(folder, 'out/photos'), {
    without: new Set(),
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  assert.deepEqual([compared.files, compared.differences], [2, []]);

  for (const line of ['gc store', 'volumes list store', 'compact store', 'keys list store'])
    assert.equal((await run(line)).exit, 0, line);
  const stats = await run('stats store --json');
  assert.deepEqual([stats.json.blobs, stats.json.encryption], [5, encryption]);
  const stored = await run('scrub store');
  assert.match(stored.stdout, /^no damage: 5 blobs.*\nwithout a key only stored bytes were verified/);
  const opened = await run('scrub store --key-file key --json');
  assert.deepEqual(
    [opened.exit, opened.json.blobs, opened.json.verified, opened.json.damaged],
    [0, 5, 'content', []],
  );
});

test('passphrases: any length up to 64 KiB, the first line, and in nothing that others can see', async (t) => {
  const { folder, run } = workplace(t);
  const phrase = `${'correct horse é '.repeat(640)}!`;
  assert.ok(Buffer.byteLength(phrase) > 10_000);
  const made = await run('init store --encrypt --passphrase-fd 0 --json', `${phrase}\r\nnot this`);
  assert.deepEqual([made.exit, made.json.slots[0].kind], [0, 'passphrase'], made.stderr);

  // Half of it was said: the command waits for the rest, and shows nothing of it.
  const options = { cwd: folder, timeout: 60_000, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] as const };
  const { child, ended } = holdfastRunning(['add', 'store', 'photos', '--passphrase-fd', '3', '--json'], {
    ...options,
    stdio: [...options.stdio],
  });
  const pipe = child.stdio[3] as NodeJS.WritableStream;
  pipe.write(phrase.slice(0, 5000));
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const place of ['cmdline', 'environ']) {
    if (process.platform !== 'linux') break;
    assert.equal(readFileSync(`/proc/${child.pid!}/${place}`, 'utf8').includes('correct horse'), false);
  }
  pipe.end(phrase.slice(5000));
  const added = await ended;
  assert.equal(added.exit, 0, added.stderr);
  assert.equal((added.stdout + added.stderr).includes('correct horse'), false);

  const wrong = await run('ls store --passphrase-fd 0 --json', `${phrase}!\n`);
  refused(wrong, 1, 'wrong-key');
  assert.equal((wrong.stdout + wrong.stderr).includes('correct horse'), false);
  // What is piped is what a program would say, however its letters were composed.
  const passphrase = phrase.normalize('NFD');
  const store = await openStore(join(folder, 'store'), {
    encryption: { secret: { kind: 'passphrase', passphrase } },
  });
  assert.equal((await store.roots.get('main')) === added.json.root, true);
  assert.deepEqual((await store.scrub()).damaged, []);
  await store.close();
});

test('mistakes with keys are told at once', async (t) => {
  const { folder, run } = workplace(t);
  await run('init plain');
  await run('init store --encrypt --key-file key');
  const wrong: readonly (readonly [exit: number, code: string, line: string, input?: string | Uint8Array])[] =
    [
      [2, 'invalid-argument', 'init new --encrypt'],
      [2, 'invalid-argument', 'init new --key-file key'],
      [1, 'not-found', 'init new --encrypt --key-file nothing'],
      [2, 'invalid-argument', 'init new --encrypt --key-file short'],
      [2, 'invalid-argument', 'init new --encrypt --key-file long'],
      [2, 'invalid-argument', 'init new --encrypt --passphrase words'],
      [2, 'invalid-argument', 'init new --encrypt --passphrase-fd 0', ''],
      [2, 'invalid-argument', 'init new --encrypt --passphrase-fd 0', '\r\nsecond line'],
      [2, 'invalid-argument', 'init new --encrypt --passphrase-fd 0', new Uint8Array(65_537).fill(0x61)],
      [2, 'invalid-argument', 'init store --encrypt --key-file key --recovery'],
      [1, 'conflict', 'init plain --encrypt'],
      [1, 'wrong-key', 'ls plain --key-file key'],
      [2, 'invalid-argument', 'keys list plain'],
      [2, 'invalid-argument', 'ls store --passphrase-fd 5000'],
      [2, 'invalid-argument', 'ls store --key-file key --passphrase-fd 0', 'words'],
      [2, 'invalid-argument', 'ls store --recovery-key-fd 0', 'no such key'],
      [2, 'invalid-argument', 'keys list store --recovery'],
      [2, 'invalid-argument', 'keys add store --key-file key'],
      [2, 'invalid-argument', `keys remove store ${'0'.repeat(32)} --key-file key`],
      [1, 'wrong-key', 'keys add store --new-key-file wrong'],
    ];
  for (const [exit, code, line, input] of wrong) {
    const ended = await run(`${line} --json`, input);
    assert.deepEqual([ended.exit, ended.json?.error?.code], [exit, code], `${line}: ${ended.stderr}`);
    assert.equal(ended.stderr, `holdfast: ${ended.json.error.message} (${code})\n`, line);
  }
  refused(await run('stats new --json'), 1, 'not-a-store');
  const scrubbed = await run('scrub store --key-file key --json');
  assert.deepEqual([scrubbed.exit, scrubbed.json.damaged], [0, []], folder);
});

test('slots come and go, epochs turn with everything sealed anew, and who is not renewed is shut out', async (t) => {
  const { run } = workplace(t);
  await run('init store --encrypt --key-file key');
  assert.equal((await run('add store photos --key-file key')).exit, 0);

  const added = await run('keys add store --key-file key --new-passphrase-fd 0 --json', 'words\n');
  assert.match(added.json.slot, /^[0-9a-f]{32}$/);
  const second = await run('keys add store --passphrase-fd 0 --recovery', 'words');
  assert.match(second.stdout, /^recovery key {2}(?:[0-9A-Z]{7}-?){8}$/m);
  const locked = await run('keys list store --json');
  assert.deepEqual([locked.json.slots.length, locked.json.epoch, locked.json.behind], [3, 1, undefined]);
  const [first, , recovery] = locked.json.slots as { readonly id: string }[];
  const removed = await run(`keys remove store ${recovery!.id} --key-file key --json`);
  assert.deepEqual([removed.exit, removed.json.slots.length], [0, 2], removed.stderr);

  const turned = await run('keys rotate store --no-reseal --key-file key --json');
  assert.deepEqual([turned.exit, turned.json.epoch, turned.json.behind], [0, 2, 5], turned.stderr);
  assert.match((await run('keys list store --key-file key')).stdout, /epoch 2, 5 blobs under older ones$/m);
  const sealed = await run('keys reseal store --key-file key --json');
  assert.deepEqual([sealed.exit, sealed.json.behind, sealed.json.resealed.blobs], [0, 0, 5], sealed.stderr);
  const rotated = await run('keys rotate store --passphrase-fd 0', 'words');
  assert.equal(rotated.exit, 0, rotated.stderr);
  assert.match(rotated.stdout, /^sealed anew: 5 blobs, .*\n.*epoch 3, 0 blobs under older ones$/m);
  assert.ok(rotated.stdout.includes(first!.id));

  // The present passphrase and the new one, a line each.
  const line =
    'keys renew store --passphrase-fd 0 --new-passphrase-fd 0 --new-key-file wrong --recovery --json';
  const renewed = await run(line, 'words\nother words\n');
  assert.equal(renewed.exit, 0, renewed.stderr);
  const kinds = (renewed.json.slots as { readonly kind: string }[]).map(({ kind }) => kind);
  assert.deepEqual(
    [renewed.json.epoch, renewed.json.behind, kinds],
    [4, 0, ['key-file', 'passphrase', 'recovery-key']],
  );
  assert.deepEqual(JSON.parse(renewed.stdout.split('\n')[0]!), { recoveryKey: renewed.json.recoveryKey });
  refused(await run('ls store --key-file key --json'), 1, 'wrong-key');
  refused(await run('ls store --passphrase-fd 0 --json', 'words'), 1, 'wrong-key');
  const text = 'words that nobody else is to read';
  for (const [how, input] of [
    ['--passphrase-fd 0', 'other words'],
    ['--recovery-key-fd 0', renewed.json.recoveryKey as string],
    ['--key-file wrong', ''],
  ] as const)
    assert.equal((await run(`cat store main:photos/letter.txt ${how}`, input)).stdout, text, how);
  const scrubbed = await run('scrub store --key-file wrong --json');
  assert.deepEqual([scrubbed.exit, scrubbed.json.damaged], [0, []]);
});

const script = spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '';
const noTerminal = script.includes('util-linux') ? false : 'NOT RUN, there is no script of util-linux';

test(
  'on a terminal passphrases are asked for, a new one twice, and never shown',
  { skip: noTerminal },
  async (t) => {
    const folder = workFolder(t);
    const typed = async (args: string, answers: readonly string[]): Promise<Ended> => {
      const command = `'${process.execPath}' --no-warnings '${main}' ${args}`;
      const child = spawn('script', ['-qefc', command, '/dev/null'], { cwd: folder, timeout: 60_000 });
      let told = '';
      let asked = 0;
      child.stdout.on('data', (bytes: Buffer) => {
        told += bytes.toString();
        // Each answer once its question was asked.
        while (asked < answers.length && told.split(/passphrase: |more: /i).length > asked + 1)
          child.stdin.write(`${answers[asked++]!}\r`);
      });
      const exit = await new Promise<number | null>((resolve) => child.on('close', resolve));
      return { exit, stdout: told, stderr: '', json: undefined };
    };
    const long = 'no echo '.repeat(1300);
    const made = await typed('init store --encrypt', [long, long]);
    assert.equal(made.exit, 0, made.stdout);
    assert.match(made.stdout, /New passphrase: \s+Once more: \s+made store/);
    assert.equal(made.stdout.includes('no echo'), false);
    const differs = await typed('init other --encrypt', ['one', 'two']);
    assert.deepEqual([differs.exit, differs.stdout.includes('not the same')], [2, true]);
    // Backspace, and what was typed before Ctrl-U, count.
    const added = await typed('keys add store', [`mistake\u0015${long}x\u007f`, 'second', 'second']);
    assert.match(added.stdout, /added slot/);
    assert.equal((await typed('ls store', ['\u0003'])).exit, 130);
    assert.equal((await typed('scrub store --passphrase-fd 0', ['second'])).exit, 0);
  },
);

test('a replica without keys takes everything, gives it back over stdio and HTTP, and is looked after', async (t) => {
  const { folder, run } = workplace(t);
  const fine = async (line: string): Promise<Ended> => {
    const ended = await run(`${line} --json`);
    assert.equal(ended.exit, 0, `${line}: ${ended.stderr}`);
    return ended;
  };
  await fine('init store --encrypt --key-file key');
  const { root } = (await fine('add store photos --key-file key')).json;
  const made = await fine('init backup --replica-of store');
  const { realm, slots } = (await fine('keys list store')).json;
  assert.deepEqual([made.json.encryption.realm, made.json.slots], [realm, slots]);
  await fine('init plain');
  await fine('init other --encrypt --key-file key');

  // Each mistake is told with the way out.
  for (const [line, exit, code, way] of [
    ['push store backup --key-file key', 1, 'wrong-key', /--by-locators/],
    ['pull plain backup', 1, 'wrong-key', /--by-locators/],
    ['push store plain', 1, 'incompatible-format', /--by-locators/],
    ['push plain backup --by-locators', 2, 'invalid-argument', /not encrypted/],
    ['pull other backup', 1, 'wrong-key', /--replica-of/],
    ['init more --replica-of plain', 2, 'invalid-argument', /not encrypted/],
    ['init more --replica-of store --key-file key', 2, 'invalid-argument', /a secret opens it later/],
    ['init more --replica-of store --layout hybrid', 2, 'invalid-argument', /--replica-of/],
    ['ls store main --sealed', 2, 'invalid-argument', /--sealed/],
    ['rm backup main --sealed', 1, 'not-found', /no root of the key/],
  ] as const) {
    const ended = await run(`${line} --json`);
    refused(ended, exit, code);
    assert.match(ended.stderr, way, line);
  }

  // With keys roots go by their names, without by the keys that they are found by.
  const pushed = await fine('push store backup main --by-locators --key-file key');
  assert.deepEqual(pushed.json.roots, [{ name: 'main', id: root, changed: true }]);
  const [sealed] = (await fine('ls backup --sealed')).json.roots;
  const again = await fine('push store backup');
  assert.deepEqual(again.json.roots, [{ name: sealed.key, id: sealed.locator, changed: false }]);
  for (const line of ['scrub backup', 'health backup', 'gc backup', 'stats backup', 'volumes list backup'])
    await fine(line);
  for (const line of ['cat backup main:photos/letter.txt', 'ls backup', 'rm backup main'])
    refused(await run(`${line} --json`), 1, 'wrong-key');

  // Over a child process's stdio, by who has the keys, into a store that knew nothing.
  await fine('init third --replica-of backup');
  const keys = {
    encryption: { secret: { kind: 'key-file', content: readFileSync(join(folder, 'key')) } },
  } as const;
  const third = await openStore(join(folder, 'third'), { threads: { count: 0 }, ...keys });
  const child = spawnTransport(process.execPath, [
    '--no-warnings',
    main,
    'serve',
    join(folder, 'backup'),
    '--stdio',
  ]);
  const pulled = await pull(third, child, { by: 'locators', roots: ['main'] });
  assert.deepEqual(pulled.roots, [{ name: 'main', id: root, changed: true }]);
  assert.equal(await third.roots.get('main'), root);
  await third.close();
  await fine('get third main out --key-file key');
  for (const name of ['letter.txt', 'sub/large.jpg'])
    assert.deepEqual(
      readFileSync(join(folder, 'out/photos', name)),
      readFileSync(join(folder, 'photos', name)),
    );

  // What is damaged comes from whoever has it, by name, folder or address.
  for (const line of [
    'repair backup --from store',
    'repair store --from backup --by-locators --key-file key',
  ])
    assert.deepEqual((await fine(line)).json.remaining, []);
  const path = readdirSync(join(folder, 'backup/blobs'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .find((one) => statSync(one).size > 600_000)!;
  const bytes = readFileSync(path).fill(0, 5000, 6000);
  rmSync(path);
  writeFileSync(path, bytes);
  assert.equal((await run('repair backup --from third --json')).json.sources.from, 1);
  assert.equal((await run('repair backup --by-locators --json')).exit, 2);

  // Over HTTP, by who has none.
  const served = await openStore(join(folder, 'backup'), { threads: { count: 0 } });
  const handler = syncHandler(served, { anonymous: () => Promise.resolve('read') });
  const { url, close } = await listenHttp(handler, { host: '127.0.0.1', port: 0 });
  await fine(`init fourth --replica-of ${url}`);
  const fetched = await fine(`pull fourth ${url}`);
  assert.deepEqual(fetched.json.roots, [{ name: sealed.key, id: sealed.locator, changed: true }]);
  await close();
  await served.close();
  assert.equal((await fine(`rm fourth ${sealed.key} --sealed`)).json.id, sealed.locator);
  assert.deepEqual((await fine('ls fourth --sealed')).json.roots, []);
});
