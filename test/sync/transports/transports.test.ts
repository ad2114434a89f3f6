/** Every transport passes the suite; a port refuses what is out of order, and `ssh` gets no argument that could be an option. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import type { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { MessageChannel } from 'node:worker_threads';
import { pacedTransport } from '../../../src/http/paced.ts';
import {
  type Transport,
  pair,
  parseSshTarget,
  portTransport,
  spawnTransport,
  sshArguments,
  streamTransport,
} from '../../../sync/index.ts';
import { transportSuite } from '../../conformance/transport.ts';
import { withCode } from '../../engine/store-folder.ts';
import { AllTransports } from '../ends.ts';

const all = new AllTransports();
after(() => all.close());
for (const [name, make] of Object.entries(all.make)) transportSuite(name, make);

transportSuite('paced', () => {
  const [a, b] = pair();
  return {
    ends: [pacedTransport(a, 1e9), pacedTransport(b, 1e9)],
    cut: () => a.close(new Error('cut')),
  };
});

test('a paced transport takes its time, and cuts what is large', async () => {
  const [a, b] = pair();
  const paced = pacedTransport(a, 1_000_000);
  const began = performance.now();
  const taking = (async () => {
    for (let bytes = 0; bytes < 400_000; bytes += (await b.receive())!.length);
    await b.send(new Uint8Array(200_000));
  })();
  await paced.send(new Uint8Array(400_000));
  let most = 0;
  for (let bytes = 0; bytes < 200_000;) {
    const piece = (await paced.receive())!;
    most = Math.max(most, piece.length);
    bytes += piece.length;
  }
  await taking;
  const tookMs = performance.now() - began;
  assert.equal(most, 125_000);
  // The last piece, of 75,000 bytes, is not waited for. A machine under load is slower, never faster.
  assert.ok(tookMs >= 500, `${tookMs} ms for 600,000 bytes at 1,000,000 a second`);
  assert.throws(() => pacedTransport(a, 0), withCode('invalid-argument'));
  await paced.close(new Error('over'));
});

/** Carries its stdin and stdout to two more pipes: real pipes, and a real process to kill. */
const carrier = `
  const { Socket } = require('net');
  process.stdin.pipe(new Socket({ fd: 4, readable: false })).on('error', () => process.exit(1));
  new Socket({ fd: 3, writable: false }).pipe(process.stdout).on('error', () => process.exit(1));
`;

transportSuite('child process', () => {
  const child = spawn(process.execPath, ['-e', carrier], {
    stdio: ['pipe', 'pipe', 'ignore', 'pipe', 'pipe'],
  });
  const far = child.stdio as unknown as [unknown, unknown, unknown, PassThrough, PassThrough];
  const ends: readonly [Transport, Transport] = [
    streamTransport({ input: child.stdout!, output: child.stdin! }),
    streamTransport({ input: far[4], output: far[3] }),
  ];
  return { ends, cutsLookLikeEnds: true, cut: () => kill(child), dispose: () => kill(child) };
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGKILL');
  await ended;
}

test(
  'a reason ends a clean close that waits, also where a port is not told of its own end',
  { timeout: 10_000 },
  async () => {
    let closed = 0;
    const end = portTransport({
      postMessage: () => undefined,
      close: () => void closed++,
      on: () => undefined,
    });
    await end.send(new Uint8Array(10));
    const waiting = end.close(); // nobody will ever acknowledge the piece
    await pause(10);
    await end.close(new Error('enough'));
    await waiting;
    assert.ok(closed > 0);
  },
);

test('a port refuses pieces out of order, doubled, too large, or no pieces at all', async () => {
  const wrong: readonly unknown[] = [
    { n: 1, bytes: Uint8Array.of(1) },
    { n: 0, bytes: new Uint8Array(2 * 1024 * 1024) },
    { ack: 1 },
    { ack: -1 },
    { ack: Number.NaN },
    'hello',
    null,
    {},
    { n: 0, bytes: [1, 2] },
  ];
  for (const note of wrong) {
    const { port1, port2 } = new MessageChannel();
    const end = portTransport(port1);
    port2.postMessage(note);
    await assert.rejects(end.receive(), withCode('unavailable'), JSON.stringify(note));
    await end.close();
  }
  const { port1, port2 } = new MessageChannel();
  const end = portTransport(port1);
  port2.postMessage({ n: 0, bytes: Uint8Array.of(1) });
  port2.postMessage({ n: 0, bytes: Uint8Array.of(1) });
  assert.deepEqual([...(await end.receive())!], [1]);
  await assert.rejects(end.receive(), withCode('unavailable'));
  await end.close();
});

test('a port that is flooded gives up, and does not keep it all', async () => {
  const { port1, port2 } = new MessageChannel();
  const end = portTransport(port1);
  for (let n = 0; n < 12; n++) port2.postMessage({ n, bytes: new Uint8Array(1024 * 1024) });
  await pause(50);
  await assert.rejects(async () => {
    while ((await end.receive()) !== undefined);
  }, withCode('unavailable'));
  await end.close();
});

test('a program that cannot be started, or dies with words, is unavailable and says them', async () => {
  const missing = spawnTransport('/no/such/program', []);
  await assert.rejects(missing.receive(), withCode('unavailable'));
  await missing.close(new Error('over'));
  const dying = spawnTransport(process.execPath, [
    '-e',
    'console.error("a banner\\r\\nno\\u001b[31m such store\\r"); process.exit(7)',
  ]);
  await assert.rejects(dying.receive(), (error: Error) => {
    withCode('unavailable')(error);
    assert.match(error.message, /ended with 7: a banner\nno\ufffd\[31m such store$/);
    return true;
  });
  await dying.close(new Error('over'));
});

test('the arguments of ssh: fixed, the host behind --, the path quoted for the far shell', () => {
  assert.deepEqual(sshArguments(parseSshTarget('ssh://me@example.org:2222/srv/my store')), [
    '-T',
    '-o',
    'BatchMode=yes',
    '-p',
    '2222',
    '--',
    'me@example.org',
    "holdfast serve --stdio -- '/srv/my store'",
  ]);
  assert.deepEqual(sshArguments(parseSshTarget("ssh://host/it's; rm -rf $HOME")).slice(-2), [
    'host',
    String.raw`holdfast serve --stdio -- '/it'\''s; rm -rf $HOME'`,
  ]);
  assert.equal(
    sshArguments(parseSshTarget('ssh://host/~/store')).at(-1),
    "holdfast serve --stdio -- 'store'",
  );
});

test('a remote that could become an option or a command is refused', () => {
  for (const remote of [
    'ssh://-oProxyCommand=touch%20x/store',
    'ssh://-oProxyCommand=x/store',
    'ssh://-l@host/store',
    'ssh://@host/store',
    'ssh:///store',
    'ssh://a b/store',
    'ssh://a;b/store',
    'ssh://$(x)/store',
    'ssh://`x`/store',
    'ssh://host',
    'ssh://host:0/store',
    'ssh://host:99999/store',
    'ssh://host/~/-store',
    'ssh://host/~/',
    'ssh://host/a\nb',
    'ssh://host/a\0b',
    'http://host/store',
  ])
    assert.throws(() => sshArguments(parseSshTarget(remote)), withCode('invalid-argument'), remote);
});
