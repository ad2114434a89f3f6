/** The host suite's part on threads: ports, lives, channels. */
import assert from 'node:assert/strict';
import type { Port, Thread } from '../../engine/host.ts';
import type { HostTest, HostTests, HostUnderTest } from './host-under-test.ts';

/** What arrives at a port, to be awaited one by one. */
class Inbox {
  readonly #arrived: unknown[] = [];
  #waiting: ((message: unknown) => void) | undefined;

  constructor(port: Port) {
    port.listen((message) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting === undefined) this.#arrived.push(message);
      else waiting(message);
    });
  }

  next(): Promise<unknown> {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}

type ThreadTest = (threads: {
  readonly start: () => Promise<Thread>;
  readonly under: HostUnderTest;
}) => Promise<void>;

/** Threads are held during a test, since without work they do not keep the process alive, and stopped after it. */
function withThreads(body: ThreadTest): HostTest {
  return async (under) => {
    const entry = under.threadEntry;
    if (entry === undefined) return;
    const started: Thread[] = [];
    const start = async (): Promise<Thread> => {
      const thread = await under.host.threads.start(entry);
      thread.hold(true);
      started.push(thread);
      return thread;
    };
    try {
      await body({ start, under });
    } finally {
      for (const thread of started) thread.hold(false);
      for (const thread of started) await thread.stop();
    }
  };
}

const tests: HostTests = {
  'parallelism is at least one': ({ host }) => {
    assert.ok(Number.isInteger(host.threads.parallelism) && host.threads.parallelism >= 1);
  },
  'a thread runs its entry with a port and a host': withThreads(async ({ start, under }) => {
    const { port } = await start();
    const inbox = new Inbox(port);
    port.post(['one', 2, new Uint8Array([3])]);
    assert.deepEqual(await inbox.next(), {
      echo: ['one', 2, new Uint8Array([3])],
      platform: under.host.platform,
    });
  }),
  'messages arrive in order, also those posted before anybody listened': withThreads(async ({ start }) => {
    const { port } = await start();
    for (let i = 0; i < 100; i++) port.post(i);
    const inbox = new Inbox(port);
    for (let i = 100; i < 200; i++) port.post(i);
    for (let i = 0; i < 200; i++) assert.equal(((await inbox.next()) as { echo: unknown }).echo, i);
  }),
  'a message is a copy; what is transferred is moved': withThreads(async ({ start }) => {
    const { port } = await start();
    const inbox = new Inbox(port);
    const [copied, moved] = [new Uint8Array([1, 2]), new Uint8Array([3, 4])];
    port.post({ copied, moved }, [moved.buffer]);
    copied[0] = 9;
    assert.equal(moved.byteLength, 0);
    const { echo } = (await inbox.next()) as { echo: unknown };
    assert.deepEqual(echo, { copied: new Uint8Array([1, 2]), moved: new Uint8Array([3, 4]) });
  }),
  'what cannot be cloned is refused where it is posted': withThreads(async ({ start }) => {
    const { port } = await start();
    assert.throws(() => port.post({ call: () => {} }));
    const inbox = new Inbox(port);
    port.post('still there');
    assert.equal(((await inbox.next()) as { echo: unknown }).echo, 'still there');
  }),
  'a stopped thread ends without an error; stopping again is harmless': withThreads(async ({ start }) => {
    const thread = await start();
    await thread.stop();
    assert.equal(await thread.ended, undefined);
    await thread.stop();
    thread.port.post('into the void');
  }),
  'a thread that dies by itself ends with its error, and leaves others alone': withThreads(
    async ({ start }) => {
      const [dying, other] = [await start(), await start()];
      const inbox = new Inbox(other.port);
      dying.port.post('die');
      const error = await dying.ended;
      assert.ok(error instanceof Error);
      assert.match(error.message, /asked to die/);
      other.port.post('well?');
      assert.equal(((await inbox.next()) as { echo: unknown }).echo, 'well?');
    },
  ),
  'a channel joins two threads directly, where there is one': withThreads(async ({ start, under }) => {
    const ends = under.host.threads.channel();
    if (ends === undefined) return;
    const [a, b] = [await start(), await start()];
    const [fromA, fromB] = [new Inbox(a.port), new Inbox(b.port)];
    a.port.post({ end: ends[0], say: 'from a' }, [ends[0]]);
    assert.ok(ends[0] !== ends[1]);
    b.port.post({ end: ends[1], say: 'from b' }, [ends[1]]);
    assert.deepEqual(await fromA.next(), { heard: 'from b' });
    assert.deepEqual(await fromB.next(), { heard: 'from a' });
  }),
};

export const threadTests: Readonly<Record<string, HostTests>> = { threads: tests };
