/** Through a real sshd on loopback, with keys and a port of its own: push, pull, forced commands, a host that is another, a cut. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Store, openStore } from '../../engine/index.ts';
import {
  type Transport,
  parseSshTarget,
  pull,
  push,
  spawnTransport,
  sshArguments,
} from '../../sync/index.ts';
import { main } from '../cli/command.ts';
import { noise, text, withCode } from '../engine/store-folder.ts';
import { assertSame, setTree } from './stores.ts';

const sshd = '/usr/sbin/sshd';
/** Why there is nothing to test here; .ci/run installs what is missing where it may. */
const missing = [sshd, '/usr/bin/ssh', '/usr/bin/ssh-keygen'].filter((path) => !existsSync(path));
const options = { threads: { count: 0 }, durability: 'relaxed' } as const;

if (missing.length > 0) {
  test('sync through a real sshd', (t) =>
    t.skip(`SKIPPED: there is no ${missing.join(', ')} (openssh-server)`));
} else {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-sshd-'));
  const far = join(base, "it's far");
  let server: ChildProcess;
  let port = 0;
  let source: Store;
  let replica: Store;

  const script = (name: string, line: string): string => {
    const path = join(base, 'bin', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#!/bin/sh\n${line}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const makeKey = (name: string): string => {
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(base, name)]);
    return readFileSync(join(base, `${name}.pub`), 'utf8').trim();
  };
  /** The ssh of this machine, with a configuration that is ours: it gets the arguments that holdfast gives it. */
  const client = (name: string, key: string, hosts: string): void => {
    const lines = [
      'Host *',
      `IdentityFile "${join(base, key)}"`,
      `UserKnownHostsFile "${join(base, hosts)}"`,
      'GlobalKnownHostsFile none',
      'IdentitiesOnly yes',
      'StrictHostKeyChecking yes',
    ];
    writeFileSync(join(base, `${name}.conf`), `${lines.join('\n')}\n`);
    script(name, `exec /usr/bin/ssh -F '${join(base, `${name}.conf`)}' "$@"`);
  };
  const through = (name = 'ssh'): Transport => {
    const target = parseSshTarget(`ssh://${userInfo().username}@127.0.0.1:${port}${far}`);
    return spawnTransport(join(base, 'bin', name), sshArguments(target));
  };

  before(async () => {
    port = await freePort();
    const [hostKey, wholeKey, readKey] = ['host', 'whole', 'read'].map(makeKey) as [string, string, string];
    script('holdfast', `exec '${process.execPath}' --no-warnings '${main}' "$@"`);
    const quoted = `'${far.replaceAll("'", String.raw`'\''`)}'`;
    writeFileSync(
      join(base, 'authorized_keys'),
      `${wholeKey}\ncommand="holdfast serve --stdio --only pull ${quoted}",restrict ${readKey}\n`,
    );
    writeFileSync(join(base, 'known'), `[127.0.0.1]:${port} ${hostKey}\n`);
    writeFileSync(join(base, 'other'), `[127.0.0.1]:${port} ${wholeKey}\n`);
    client('ssh', 'whole', 'known');
    client('ssh-read', 'read', 'known');
    client('ssh-other', 'whole', 'other');
    const lines = [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey "${join(base, 'host')}"`,
      `AuthorizedKeysFile "${join(base, 'authorized_keys')}"`,
      `SetEnv PATH="${join(base, 'bin')}${delimiter}${process.env['PATH'] ?? ''}"`,
      'PidFile none',
      'UsePAM no',
      'StrictModes no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
    ];
    writeFileSync(join(base, 'sshd.conf'), `${lines.join('\n')}\n`);
    if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true });
    server = spawn(sshd, ['-D', '-e', '-f', join(base, 'sshd.conf')], {
      stdio: ['ignore', 'ignore', process.env['HOLDFAST_SSHD_WORDS'] === undefined ? 'ignore' : 'inherit'],
    });
    await listening(port, server);
    source = await openStore(join(base, 'source'), options);
    replica = await openStore(far, options);
    await setTree(
      source,
      'main',
      new Map([
        ['a', text('over ssh')],
        ['b', noise(300_000)],
      ]),
    );
  });

  after(async () => {
    server.kill();
    for (const store of [source, replica]) {
      assert.deepEqual((await store.scrub()).damaged, []);
      await store.close();
    }
    rmSync(base, { recursive: true });
  });

  test('sshd: a push and a pull through the ssh of this machine', { timeout: 60_000 }, async () => {
    await push(source, through(), { roots: ['main'] });
    await assertSame(source, replica, ['main']);
    await setTree(replica, 'back', new Map([['c', text('from there')]]));
    await pull(source, through('ssh-read'), { roots: ['back'] });
    await assertSame(replica, source, ['back']);
  });

  test('sshd: a key with a forced command may do that and nothing else', { timeout: 60_000 }, async () => {
    await setTree(source, 'new', new Map([['d', text('not to be pushed')]]));
    await assert.rejects(push(source, through('ssh-read'), { roots: ['new'] }), withCode('forbidden'));
    assert.equal(await replica.roots.get('new'), undefined);
  });

  test('sshd: a host that is another one is not spoken to', { timeout: 60_000 }, async () => {
    await assert.rejects(pull(source, through('ssh-other')), (error: Error) => {
      withCode('unavailable')(error);
      assert.match(error.message, /Host key verification failed/);
      return true;
    });
  });

  test('sshd: a session that dies is a cut, and the next one goes on', { timeout: 60_000 }, async (t) => {
    const children = `/proc/${server.pid}/task/${server.pid}/children`;
    if (!existsSync(children)) return t.skip('SKIPPED: sessions of sshd are found in /proc');
    await setTree(replica, 'large', new Map([['e', noise(6_000_000, 3)]]));
    const inner = through();
    let received = 0;
    const dying: Transport = {
      send: (bytes) => inner.send(bytes),
      close: (reason) => inner.close(reason),
      async receive() {
        const bytes = await inner.receive();
        const before = received;
        received += bytes?.length ?? 0;
        if (before < 3_000_000 && received >= 3_000_000)
          for (const pid of readFileSync(children, 'utf8').trim().split(' '))
            process.kill(Number(pid), 'SIGKILL');
        return bytes;
      },
    };
    await assert.rejects(pull(source, dying, { roots: ['large'] }), withCode('unavailable'));
    assert.equal(await source.roots.get('large'), undefined);
    const { bytes } = await pull(source, through(), { roots: ['large'] });
    assert.ok(bytes < 4_500_000, `${bytes} bytes came again`);
    await assertSame(replica, source, ['large']);
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Until it listens; an error when it ends before. */
async function listening(port: number, server: ChildProcess): Promise<void> {
  while (server.exitCode === null) {
    const connected = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (connected) return;
    await pause(20);
  }
  throw new Error(`sshd ended with ${server.exitCode}; HOLDFAST_SSHD_WORDS=1 shows what it says`);
}
