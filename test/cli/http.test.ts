/** `serve --http`, `token` and `remote`, and stores that are encrypted as REMOTE: on the command line, in as few processes as will do. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { type OpenOptions, type StoreError, openStore } from '../../engine/index.ts';
import { Output } from '../../src/cli/output.ts';
import { push } from '../../src/cli/push.ts';
import { type RemoteOptions, withRemote } from '../../src/cli/remote.ts';
import { remote } from '../../src/cli/remotes.ts';
import { repair } from '../../src/cli/repair.ts';
import { serve } from '../../src/cli/serve.ts';
import { token } from '../../src/cli/token.ts';
import type { Verb } from '../../src/cli/verb.ts';
import { httpTransport } from '../../src/http/client.ts';
import { remotesOf } from '../../src/http/remotes.ts';
import { tokensOf } from '../../src/http/tokens.ts';
import { makeCertificate } from '../sync/certificate.ts';
import { setTree } from '../sync/stores.ts';
import { holdfast, holdfastRunning, workFolder } from './command.ts';

/** Makes a store without a process; with a root when there is content. */
async function makeStore(path: string, content?: string, options: OpenOptions = {}): Promise<string> {
  const store = await openStore(path, { threads: { count: 0 }, durability: 'relaxed', ...options });
  const id =
    content === undefined ? '' : await setTree(store, 'main', new Map([['a', Buffer.from(content)]]));
  await store.close();
  return id;
}

function secretFile(path: string, content: string | Uint8Array): void {
  writeFileSync(path, content);
  chmodSync(path, 0o600);
}

/** Damages every record in the SQLite volumes of a store that nobody has open. */
function harmVolumes(store: string): void {
  for (const name of readdirSync(join(store, 'volumes'), { recursive: true }).map(String)) {
    if (!name.endsWith('.db')) continue;
    const db = new Database(join(store, 'volumes', name));
    for (const { n, data } of db.prepare('SELECT n, data FROM extents').all() as {
      n: number;
      data: Buffer;
    }[])
      db.prepare('UPDATE extents SET data = ? WHERE n = ?').run(data.fill(0, 60), n);
    db.close();
  }
}

/** Runs a verb in this process; resolves to the object it prints. */
async function run(
  verb: Verb,
  args: readonly string[],
  options: Readonly<Record<string, unknown>> = {},
  signal: AbortSignal = new AbortController().signal,
): Promise<unknown> {
  const stdout = new PassThrough();
  const streams = { stdout, stderr: new PassThrough().resume() } as unknown as Pick<
    NodeJS.Process,
    'stdout' | 'stderr'
  >;
  await verb.run(
    { output: new Output('json', streams), signal, key: {}, keyless: false, threads: { count: 0 } },
    args,
    options,
  );
  return JSON.parse(String(stdout.read()));
}

test('a server, a token, a named remote: pull, push, revoke, stop', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  const id = await makeStore(join(folder, 'store'), 'served');
  await makeStore(join(folder, 'replica'));
  const { cert, key } = makeCertificate();
  writeFileSync(join(folder, 'cert.pem'), cert);
  secretFile(join(folder, 'key.pem'), key);

  const created = await holdfast(
    ['token', 'create', 'store', '--scope', 'admin', '--label', 'laptop', '--json'],
    options,
  );
  assert.equal(created.exit, 0, created.stderr);
  const { token: secret, id: tokenId, scope, label } = created.json;
  assert.deepEqual([scope, label], ['admin', 'laptop']);
  secretFile(join(folder, 'token'), `${secret}\n`);

  const tls = ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'];
  const running = holdfastRunning(['serve', 'store', '--http', '127.0.0.1:0', ...tls, '--json'], options);
  const url = await new Promise<string>((resolve, reject) => {
    running.child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(String(line)).url));
    running.ended.then(({ stderr }) => reject(new Error(stderr)), reject);
  });
  assert.match(url, /^https:\/\/127\.0\.0\.1:[0-9]+$/);

  const trust = ['--token-file', 'token', '--tls-ca', 'cert.pem'];
  const files = { tokenFile: join(folder, 'token'), tlsCa: join(folder, 'cert.pem') };
  const replica = join(folder, 'replica');
  assert.deepEqual(await run(remote, ['add', replica, 'origin', url], files), {
    name: 'origin',
    address: url,
    ...files,
  });
  const again = run(remote, ['add', replica, 'origin', url]);
  await assert.rejects(again, (error: StoreError) => error.code === 'conflict');
  for (const leadsNowhere of ['ftp://host/store', 'file:///store', 's3://bucket'])
    await assert.rejects(run(remote, ['add', replica, 'other', leadsNowhere]), /leads to no store/);
  const kept = readdirSync(join(folder, 'replica/remotes'));
  assert.ok(!readFileSync(join(folder, 'replica/remotes', kept[0]!), 'utf8').includes(secret));
  // By its name, from another place; and slowly.
  const pulled = await holdfast(['pull', 'replica', 'origin', '--rate', '1MB', '--json'], options);
  assert.equal(pulled.exit, 0, pulled.stderr);
  assert.deepEqual(pulled.json.roots, [{ name: 'main', id, changed: true }]);
  const pushed = await holdfast(['push', 'replica', url, ...trust, '--json'], options);
  assert.deepEqual(pushed.json.roots, [{ name: 'main', id, changed: false }]);
  harmVolumes(replica);
  const repaired = await holdfast(['repair', 'replica', '--from', 'origin', '--json'], options);
  assert.deepEqual([repaired.exit, repaired.json.remaining], [0, []], repaired.stderr);
  assert.ok(repaired.json.sources.from === 2 && repaired.json.receivedBytes > 0, repaired.stdout);

  assert.deepEqual(await run(token, ['revoke', join(folder, 'store'), tokenId]), { revoked: tokenId });
  const refused = await holdfast(['pull', 'replica', 'origin', '--json'], options);
  assert.deepEqual([refused.exit, refused.json.error.code], [1, 'forbidden']);
  running.child.kill('SIGTERM');
  const ended = await running.ended;
  assert.deepEqual([ended.exit, ended.json], [0, { url, sessions: 3 }]);
  assert.match(ended.stderr, new RegExp(`127\\.0\\.0\\.1 \\(token ${tokenId}, admin\\): 1 transfer`));
  assert.ok(![created.stderr, ended.stdout, ended.stderr].some((told) => told.includes(secret)));
});

test('what is said about a remote goes with one', async (t) => {
  const folder = workFolder(t);
  await makeStore(join(folder, 'store'), 'x');
  await makeStore(join(folder, 'other'), 'x');
  const store = join(folder, 'store');
  await assert.rejects(run(repair, [store], { tokenFile: 'token' }), /goes with --from/);
  const other = run(repair, [store], { from: join(folder, 'other'), rate: '1MB' });
  await assert.rejects(other, /for what is no folder/);
  // Nothing is damaged: nobody is asked, also where nobody is.
  const nowhere = await run(repair, [store], { from: 'http://127.0.0.1:1' });
  assert.deepEqual((nowhere as { healed: number }).healed, 0);
});

test('a server does not open a door by mistake', async (t) => {
  const folder = workFolder(t);
  const store = join(folder, 'store');
  await makeStore(store, 'x');
  const cases: [Verb, string[], object, RegExp][] = [
    [serve, [store], { http: '0.0.0.0:0' }, /other machines can reach 0\.0\.0\.0: give --tls-cert/],
    [serve, [store], { http: '[::]:0', allowPlainHttp: true }, /the store has no tokens/],
    [serve, [store], { http: '-x:1' }, /not HOST:PORT/],
    [serve, [store], { http: '8080', only: 'pull' }, /--only is for --stdio/],
    [serve, [store], { http: '0', tlsCert: 'cert.pem' }, /go together/],
    [serve, [store], {}, /serve on --stdio, or on --http/],
    [token, ['create', store], {}, /wants --scope/],
    [token, ['revoke', store], {}, /token revoke DIR ID/],
    [token, ['revoke', store, '12'], {}, /not the id of a token: "12"; "token list" shows them/],
    [remote, ['add', store, '../x', '/y'], {}, /not a name/],
    [remote, ['add', store, '-x', '/y'], {}, /not a name/],
    [remote, ['add', store, 'x', 'ssh://-oProxyCommand=x/y'], {}, /cannot be/],
    [remote, ['add', store, 'x', '/y'], { tokenFile: 'z' }, /are for http/],
  ];
  for (const [verb, args, options, words] of cases)
    await assert.rejects(
      run(verb, args, { ...options }),
      words,
      `${args.join(' ')} ${JSON.stringify(options)}`,
    );
  const output = new Output('json', { stdout: process.stderr, stderr: process.stderr });
  const context = {
    output,
    signal: new AbortController().signal,
    key: {},
    keyless: false,
    threads: { count: 0 },
  };
  const remotes: [string, RemoteOptions, RegExp][] = [
    ['https://user:secret@host/', {}, /no place in an address/],
    ['https://host', { rate: '0' }, /at least one byte/],
    [store, { tokenFile: 'x' }, /are for http/],
    ['http://host', { remoteKeyFile: 'x' }, /are for folders/],
    ['ssh://host/x', { remotePassphraseFd: 3 }, /are for folders/],
  ];
  const work = (): Promise<never> => assert.fail('something was connected to');
  for (const [address, options, words] of remotes)
    await assert.rejects(withRemote(address, 'push', { context, directory: store, options, work }), words);
  assert.deepEqual([await tokensOf(store).list(), await remotesOf(store).list()], [[], []]);
  const nowhere = join(folder, 'nowhere');
  for (const [verb, args] of [
    [token, ['list', nowhere]],
    [remote, ['list', nowhere]],
  ] as const)
    await assert.rejects(run(verb, args), (error: StoreError) => error.code === 'not-a-store');
});

/** Serves a store in this process, as the verb does, for the length of some work. */
async function servingOpen(store: string, work: (url: string) => Promise<void>): Promise<void> {
  const stdout = new PassThrough();
  const streams = { stdout, stderr: new PassThrough().resume() } as unknown as Pick<
    NodeJS.Process,
    'stdout' | 'stderr'
  >;
  const stop = new AbortController();
  const context = {
    output: new Output('json', streams),
    signal: stop.signal,
    key: {},
    keyless: false,
    threads: { count: 0 },
  };
  const ended = serve.run(context, [store], { http: '0' });
  try {
    const [line] = (await once(stdout, 'data')) as [Buffer];
    await work((JSON.parse(String(line)) as { readonly url: string }).url);
  } finally {
    stop.abort();
    assert.equal(await ended, 0);
  }
}

test('a store without tokens is open to this machine, until its first token', async (t) => {
  const store = join(workFolder(t), 'store');
  await makeStore(store, 'x');
  const isForbidden = (error: StoreError): boolean => error.code === 'forbidden';
  await servingOpen(store, async (url) => {
    await (await httpTransport(url)).close();
    const { id } = await tokensOf(store).create('read');
    await assert.rejects(httpTransport(url), isForbidden);
    await tokensOf(store).revoke(id);
    await assert.rejects(httpTransport(url), isForbidden);
  });
  // Likewise where nobody came while it stood.
  await servingOpen(store, async (url) => {
    await (await httpTransport(url)).close();
    await tokensOf(store).revoke((await tokensOf(store).create('read')).id);
    await assert.rejects(httpTransport(url), isForbidden);
  });
});

test('a folder that is encrypted is a remote with its key', async (t) => {
  const folder = workFolder(t);
  const [store, vault, keyFile] = ['store', 'vault', 'vault.key'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const content = new Uint8Array(32).fill(7);
  secretFile(keyFile, content);
  const id = await makeStore(store, 'of mine');
  await makeStore(vault, undefined, {
    encryption: { secret: { kind: 'key-file', content: content.slice() } },
  });
  const output = new Output('json', { stdout: process.stderr, stderr: process.stderr });
  const context = {
    output,
    signal: new AbortController().signal,
    key: {},
    keyless: false,
    threads: { count: 0 },
  };
  const work = (): Promise<never> => assert.fail('it was opened without its key');
  await assert.rejects(
    withRemote(vault, 'push', { context, directory: store, options: {}, work }),
    (error: StoreError) => error.code === 'wrong-key' && error.message.includes('--remote-key-file'),
  );
  const { roots } = (await run(push, [store, vault], { remoteKeyFile: keyFile })) as {
    readonly roots: unknown;
  };
  assert.deepEqual(roots, [{ name: 'main', id, changed: true }]);
});
