/** The memory host keeps the contract; and what only it can do: crash, run out of room, stand still in time, repeat itself. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Host } from '../../../engine/host.ts';
import {
  type CrashKeep,
  type MemoryHost,
  type MemoryHostOptions,
  memoryHost,
} from '../../../engine/hosts/memory.ts';
import { fails, getFile, namesIn, putFile, readAll } from '../../conformance/host-probe.ts';
import { hostSuite } from '../../conformance/host.ts';
import type { HostUnderTest } from '../../conformance/host-under-test.ts';
import { faultyHost } from '../../world/faulty-host.ts';
import { sample } from '../../crash/sample.ts';

const threadEntry = new URL('../../world/echo-thread.ts', import.meta.url);

function inMemory(
  options: MemoryHostOptions = {},
  wrap: (host: MemoryHost) => Host = (host) => host,
): HostUnderTest {
  const host = memoryHost(options);
  host.files.makeFolder('/home');
  return {
    host: wrap(host),
    folder: '/home',
    pass: (ms) => host.clock.advance(ms),
    makeRawName: (folder, name) => {
      const path = new Uint8Array([...new TextEncoder().encode(`${folder}/`), ...name]);
      host.files.open(path, 'create').close();
    },
    threadEntry,
  };
}

hostSuite('memory', () => inMemory());
hostSuite('memory without clones', () => inMemory({ clones: 'no' }));
hostSuite('faulty over memory, nothing armed', () => inMemory({}, faultyHost));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (host: Host, path: string): string => new TextDecoder().decode(getFile(host, path));

/** A file whose content and name are durable. */
function durable(host: Host, path: string, content: string): void {
  putFile(host, path, content);
  const file = host.files.open(path, 'write');
  file.sync();
  file.close();
  host.files.syncFolder(host.files.join(path, '..'));
}

describe('a crash', () => {
  test('forgets a name that was not synced, though the content was', () => {
    const host = memoryHost();
    const file = host.files.open('/file', 'create');
    file.write(bytes('x'), 0);
    file.sync();
    host.crash();
    assert.equal(host.files.facts('/file'), undefined);
  });

  test('forgets content that was not synced, though the name was', () => {
    const host = memoryHost();
    putFile(host, '/file', 'x');
    host.files.syncFolder('/');
    host.crash();
    assert.equal(text(host, '/file'), '');
  });

  test('goes back to the content of the last sync: written over, grown, cut', () => {
    const host = memoryHost();
    for (const change of ['over', 'grown', 'cut']) durable(host, `/${change}`, 'synced content');
    const [over, grown, cut] = ['/over', '/grown', '/cut'].map((path) => host.files.open(path, 'write'));
    over!.write(bytes('lost'), 0);
    grown!.write(bytes('lost'), 9_000);
    cut!.truncate(3);
    cut!.truncate(5000);
    host.crash();
    for (const change of ['over', 'grown', 'cut']) assert.equal(text(host, `/${change}`), 'synced content');
  });

  test('brings back what was removed or renamed and not synced', () => {
    const host = memoryHost();
    durable(host, '/removed', 'r');
    durable(host, '/from', 'f');
    host.files.removeFile('/removed');
    host.files.rename('/from', '/to');
    host.crash();
    assert.deepEqual(namesIn(host, '/'), ['from', 'removed']);
    assert.equal(host.files.facts('/from')?.links, 1);
  });

  test('keeps a rename whole: synced on one side, it is durable on both', () => {
    const host = memoryHost();
    host.files.makeFolder('/a');
    host.files.makeFolder('/b');
    host.files.syncFolder('/');
    durable(host, '/a/file', 'x');
    host.files.rename('/a/file', '/b/file');
    host.files.syncFolder('/b');
    host.crash();
    assert.deepEqual([namesIn(host, '/a'), namesIn(host, '/b')], [[], ['file']]);
  });

  test('keeps the temp, sync, rename, sync folder of a put', () => {
    const host = memoryHost();
    host.files.makeFolder('/tmp');
    host.files.makeFolder('/blobs');
    host.files.syncFolder('/');
    const file = host.files.open('/tmp/new', 'create');
    file.write(bytes('blob'), 0);
    file.sync();
    file.close();
    host.files.rename('/tmp/new', '/blobs/id');
    host.files.syncFolder('/blobs');
    host.crash();
    assert.equal(text(host, '/blobs/id'), 'blob');
    assert.deepEqual(namesIn(host, '/tmp'), []);
  });

  test('loses a whole tree whose top was not synced', () => {
    const host = memoryHost();
    host.files.makeFolder('/top');
    durable(host, '/top/file', 'x');
    host.crash();
    assert.deepEqual(namesIn(host, '/'), []);
    host.files.makeFolder('/top');
    assert.deepEqual(namesIn(host, '/top'), []);
  });

  test('kills handles, threads and sleepers, and starts another process', async () => {
    const host = memoryHost();
    durable(host, '/file', 'x');
    const file = host.files.open('/file', 'write');
    const before = [host.pid, host.processStart];
    const thread = await host.threads.start(threadEntry);
    let heard = 0;
    thread.port.listen(() => void heard++);
    thread.port.post('lost');
    let woke = false;
    void host.clock.sleep(10).then(() => (woke = true));
    host.crash('everything');
    host.clock.advance(100);
    for (let i = 0; i < 5; i++) await host.clock.yield();
    assert.deepEqual([woke, heard], [false, 0]);
    fails('EBADF', () => file.write(bytes('y'), 0));
    fails('EBADF', () => file.sync());
    file.close();
    assert.notEqual(host.pid, before[0]);
    assert.notEqual(host.processStart, before[1]);
    assert.equal(text(host, '/file'), 'x');
  });

  test('that keeps everything loses nothing; what it kept is durable', () => {
    const host = memoryHost();
    putFile(host, '/file', 'kept');
    host.crash('everything');
    host.crash('nothing');
    assert.equal(text(host, '/file'), 'kept');
  });

  test('that keeps a random part keeps what was synced, and repeats itself', () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const [first, again] = [crashed({ seed }), crashed({ seed })];
      assert.equal(first, again);
      assert.ok(first.includes('base='.concat('s'.repeat(600))), first);
      outcomes.add(first);
    }
    assert.ok(outcomes.size > 10, `only ${outcomes.size} outcomes`);
  });

  test('that keeps a random part tears an unsynced write at sectors, and a growth anywhere', () => {
    const host = memoryHost();
    durable(host, '/file', 'a'.repeat(8192));
    const file = host.files.open('/file', 'write');
    file.write(bytes('b'.repeat(8192 + 5000)), 0);
    host.crash({ seed: 7 });
    const after = text(host, '/file');
    assert.ok(after.length >= 8192 && after.length <= 13_192);
    for (let sector = 0; sector < 8192; sector += 512) {
      assert.match(after.slice(sector, sector + 512), /^(a{512}|b{512})$/);
    }
    assert.match(after.slice(0, 8192), /a/);
    assert.match(after.slice(0, 8192), /b/);
  });

  test('that keeps a random part never leaves a folder in itself, or a name without a file', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(4), fc.nat(5), fc.nat(5)), { maxLength: 30 }),
        fc.nat(),
        (steps, seed) => {
          const host = memoryHost();
          for (const step of steps) tryStep(host, step);
          host.crash({ seed });
          const before = treeOf(host, '/');
          assert.ok(before.length < 100);
          host.crash('nothing');
          assert.deepEqual(treeOf(host, '/'), before);
        },
      ),
      { numRuns: sample(300, 100) },
    );
  });
});

/** Some synced and some not: what a crash leaves, as text. */
function crashed(keep: CrashKeep): string {
  const host = memoryHost();
  durable(host, '/base', 's'.repeat(600));
  for (const name of ['/a', '/b', '/c']) putFile(host, name, name.repeat(700));
  host.files.rename('/a', '/d');
  host.crash(keep);
  return namesIn(host, '/')
    .map((name) => `${name}=${text(host, `/${name}`)}`)
    .join('\n');
}

const names = ['a', 'b', 'c', 'a/a', 'b/a', 'a/b'];

function tryStep(host: Host, [what, one, two]: readonly [number, number, number]): void {
  const [from, to] = [`/${names[one]!}`, `/${names[two]!}`];
  try {
    if (what === 0) host.files.makeFolder(from);
    else if (what === 1) putFile(host, from, 'x');
    else if (what === 2) host.files.rename(from, to);
    else if (what === 3) host.files.syncFolder(from);
    else host.files.removeFile(from);
  } catch (error) {
    assert.ok(error instanceof Error && 'code' in error, String(error));
  }
}

function treeOf(host: Host, path: string): string[] {
  return namesIn(host, path).flatMap((name) => {
    const below = host.files.join(path, name);
    const facts = host.files.linkFacts(below);
    assert.ok(facts !== undefined);
    assert.equal(host.files.realPath(below), below);
    return facts.kind === 'folder'
      ? [below, ...treeOf(host, below)]
      : [`${below}:${facts.links}:${facts.size}`];
  });
}

describe('room', () => {
  test('a write beyond it fails with ENOSPC; removing or cutting makes room again', () => {
    const host = memoryHost({ capacityBytes: 10 * 4096 });
    const file = host.files.open('/big', 'create');
    fails('ENOSPC', () => file.write(new Uint8Array(11 * 4096), 0));
    assert.equal(host.files.space('/').freeBytes, 0);
    file.truncate(4096);
    assert.equal(host.files.space('/').freeBytes, 9 * 4096);
    file.write(new Uint8Array(4096), 1_048_576);
    assert.equal(host.files.space('/').freeBytes, 8 * 4096);
    host.files.removeFile('/big');
    assert.equal(host.files.space('/').freeBytes, 8 * 4096);
    file.close();
    assert.equal(host.files.space('/').freeBytes, 10 * 4096);
  });

  test('a clone without room makes nothing', () => {
    const host = memoryHost({ capacityBytes: 3 * 4096 });
    putFile(host, '/a', new Uint8Array(2 * 4096));
    fails('ENOSPC', () => host.files.clone('/a', '/b'));
    assert.deepEqual(namesIn(host, '/'), ['a']);
    assert.equal(host.files.space('/').freeBytes, 4096);
  });

  test('is counted anew after a crash', () => {
    const host = memoryHost({ capacityBytes: 10 * 4096 });
    durable(host, '/kept', 'x');
    host.files.removeFile('/kept');
    putFile(host, '/lost', new Uint8Array(5 * 4096));
    host.crash();
    assert.equal(host.files.space('/').freeBytes, 9 * 4096);
  });
});

describe('time and chance', () => {
  test('time stands still until it is told to move, and with it file times', () => {
    const host = memoryHost({ startMs: 1_700_000_000_000 });
    putFile(host, '/a', 'a');
    putFile(host, '/b', 'b');
    assert.equal(host.files.facts('/a')?.mtimeNs, 1_700_000_000_000_000_000n);
    assert.equal(host.files.facts('/b')?.mtimeNs, 1_700_000_000_000_000_000n);
    host.clock.advance(1.5);
    putFile(host, '/c', 'c');
    assert.equal(host.files.facts('/c')?.mtimeNs, 1_700_000_000_001_500_000n);
  });

  test('setting the wall clock wakes nobody and leaves the monotonic clock', async () => {
    const host = memoryHost();
    let woke = false;
    const slept = host.clock.sleep(1000).then(() => (woke = true));
    const before = host.clock.monotonic();
    host.clock.set(host.clock.now() + 1e9);
    await host.clock.yield();
    assert.equal(woke, false);
    assert.equal(host.clock.monotonic(), before);
    host.clock.advance(1000);
    await slept;
  });

  test('randomness repeats itself by its seed', () => {
    const [one, same, other] = [5, 5, 6].map((seed) => memoryHost({ seed }).random(32));
    assert.deepEqual(one, same);
    assert.notDeepEqual(one, other);
  });
});

test('unsynced content of an open file is one for all handles until the crash', () => {
  const host = memoryHost();
  durable(host, '/file', 'abc');
  const [writer, reader] = [host.files.open('/file', 'write'), host.files.open('/file', 'read')];
  writer.write(bytes('X'), 0);
  assert.deepEqual(readAll(reader), bytes('Xbc'));
  reader.sync();
  host.crash();
  assert.equal(text(host, '/file'), 'Xbc');
});
