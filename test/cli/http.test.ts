/** `serve --http`, `token` and `remote`, and stores that are encrypted as REMOTE: on the command line, in as few processes as will do. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type OpenOptions, openStore } from '../../engine/index.ts';
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
  const { token, id: tokenId, scope, label } = created.json;
  assert.deepEqual([scope, label], ['admin', 'laptop']);
  secretFile(join(folder, 'token'), `${token}\n`);

  const tls = ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'];
  const running = holdfastRunning(['serve', 'store', '--http', '127.0.0.1:0', ...tls, '--json'], options);
  const url = await new Promise<string>((resolve, reject) => {
    running.child.stdout?.once('data', (line: Buffer) => resolve(JSON.parse(String(line)).url));
    running.ended.then(({ stderr }) => reject(new Error(stderr)), reject);
  });
  assert.match(url, /^https:\/\/127\.0\.0\.1:[0-9]+$/);

  const trust = ['--token-file', 'token', '--tls-ca', 'cert.pem'];
  const added = await holdfast(['remote', 'add', 'replica', 'origin', url, ...trust, '--json'], options);
  assert.deepEqual(added.json, {
    name: 'origin',
    address: url,
    tokenFile: join(folder, 'token'),
    tlsCa: join(folder, 'cert.pem'),
  });
  const kept = readdirSync(join(folder, 'replica/remotes'));
  assert.ok(!readFileSync(join(folder, 'replica/remotes', kept[0]!), 'utf8').includes(token));
  // By its name, from another place; and slowly.
  const pulled = await holdfast(['pull', 'replica', 'origin', '--rate', '1MB', '--json'], options);
  assert.equal(pulled.exit, 0, pulled.stderr);
  assert.deepEqual(pulled.json.roots, [{ name: 'main', id, changed: true }]);
  const pushed = await holdfast(['push', 'replica', url, ...trust, '--json'], options);
  assert.deepEqual(pushed.json.roots, [{ name: 'main', id, changed: false }]);

  const revoked = await holdfast(['token', 'revoke', 'store', tokenId, '--json'], options);
  assert.deepEqual(revoked.json, { revoked: tokenId });
  const refused = await holdfast(['pull', 'replica', 'origin', '--json'], options);
  assert.deepEqual([refused.exit, refused.json.error.code], [1, 'forbidden']);
  running.child.kill('SIGTERM');
  const ended = await running.ended;
  assert.deepEqual([ended.exit, ended.json], [0, { url, sessions: 2 }]);
  assert.match(ended.stderr, new RegExp(`127\\.0\\.0\\.1 \\(token ${tokenId}, admin\\): 1 transfer`));
  assert.ok(![created.stderr, ended.stdout, ended.stderr].some((told) => told.includes(token)));
});

test('a server does not open a door by mistake', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  await makeStore(join(folder, 'store'), 'x');
  const cases: [string[], string][] = [
    [['serve', 'store', '--http', '0.0.0.0:0'], 'other machines can reach'],
    [['serve', 'store', '--http', '0.0.0.0:0', '--allow-plain-http'], 'has no tokens'],
    [['serve', 'store', '--http', '-x:1'], 'not HOST:PORT'],
    [['token', 'create', 'store'], 'wants --scope'],
    [['remote', 'add', 'store', '../x', '/y'], 'not a name'],
    [['push', 'store', 'https://user:secret@host/'], 'no place in an address'],
  ];
  for (const [args, words] of cases) {
    const ended = await holdfast([...args, '--json'], options);
    assert.deepEqual([ended.exit, ended.json?.error?.code], [2, 'invalid-argument'], args.join(' '));
    assert.ok(ended.json.error.message.includes(words), ended.json.error.message);
  }
  assert.deepEqual(await tokensOf(join(folder, 'store')).list(), []);
});

test('a folder that is encrypted is a remote with its key', async (t) => {
  const folder = workFolder(t);
  const options = { cwd: folder };
  const content = Buffer.alloc(32, 7);
  secretFile(join(folder, 'vault.key'), content);
  const id = await makeStore(join(folder, 'store'), 'of mine');
  const secret = { kind: 'key-file', content: new Uint8Array(content) } as const;
  await makeStore(join(folder, 'vault'), undefined, { encryption: { secret } });
  const locked = await holdfast(['push', 'store', 'vault', '--json'], options);
  assert.deepEqual([locked.exit, locked.json.error.code], [1, 'wrong-key']);
  assert.match(locked.json.error.message, /--remote-key-file/);
  const key = ['--remote-key-file', 'vault.key'];
  const pushed = await holdfast(['push', 'store', 'vault', ...key, '--json'], options);
  assert.equal(pushed.exit, 0, pushed.stderr);
  assert.deepEqual(pushed.json.roots, [{ name: 'main', id, changed: true }]);
});
