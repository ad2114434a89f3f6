/** The conformance suite of the Host contract: every promise of engine/host.ts, for whoever writes a host or wraps one. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fileTests } from './host-files.ts';
import { folderTests } from './host-folders.ts';
import { threadTests } from './host-threads.ts';
import type { HostTest, HostTests, MakeHost } from './host-under-test.ts';

/** Registers the suite with node:test. */
export function hostSuite(name: string, makeHost: MakeHost): void {
  describe(`host: ${name}`, () => {
    for (const [part, tests] of Object.entries({
      ...fileTests,
      ...folderTests,
      ...restTests,
      ...threadTests,
    })) {
      describe(part, () => {
        for (const [promise, body] of Object.entries(tests)) test(promise, () => runOn(makeHost, body));
      });
    }
  });
}

async function runOn(makeHost: MakeHost, body: HostTest): Promise<void> {
  const under = await makeHost();
  try {
    await body(under);
  } finally {
    await under.dispose?.();
  }
}

const restTests: Readonly<Record<string, HostTests>> = {
  clock: {
    'the wall clock shows ms of this age, the monotonic clock never goes back': async ({ host, pass }) => {
      assert.ok(host.clock.now() > Date.UTC(2020, 0, 1));
      let last = host.clock.monotonic();
      for (let i = 0; i < 50; i++) {
        pass?.(0.25);
        const now = host.clock.monotonic();
        assert.ok(now >= last);
        last = now;
      }
    },
    'sleep lasts at least as long as asked': async ({ host, pass }) => {
      const start = host.clock.monotonic();
      const slept = host.clock.sleep(15);
      pass?.(15);
      await awake(slept);
      // Timers count whole milliseconds.
      assert.ok(host.clock.monotonic() - start >= 14);
    },
    'sleepers wake in order, and none before its time': async ({ host, pass }) => {
      const woken: number[] = [];
      const all = [30, 10, 20].map((ms) => host.clock.sleep(ms).then(() => woken.push(ms)));
      for (let i = 0; i < 3; i++) {
        pass?.(10);
        await host.clock.yield();
      }
      await awake(Promise.all(all));
      assert.deepEqual(woken, [10, 20, 30]);
    },
    'sleep ends at once when the signal aborts, or had aborted': async ({ host }) => {
      const stop = new AbortController();
      const sleeping = host.clock.sleep(3_600_000, stop.signal);
      stop.abort();
      await sleeping;
      await host.clock.sleep(3_600_000, stop.signal);
    },
    'an abort after the sleep is harmless': async ({ host, pass }) => {
      const stop = new AbortController();
      const slept = host.clock.sleep(1, stop.signal);
      pass?.(1);
      await awake(slept);
      stop.abort();
    },
    'yield lets other work run': async ({ host }) => {
      let ran = 0;
      const other = (async () => {
        for (; ran < 3; ran++) await host.clock.yield();
      })();
      for (let i = 0; i < 10; i++) await host.clock.yield();
      assert.equal(ran, 3);
      await other;
    },
  },
  randomness: {
    'random gives as many bytes as asked, other ones each time': ({ host }) => {
      assert.equal(host.random(0).length, 0);
      const drawn = Array.from({ length: 50 }, () => host.random(16));
      assert.ok(drawn.every((bytes) => bytes instanceof Uint8Array && bytes.length === 16));
      assert.equal(new Set(drawn.map(String)).size, 50);
    },
    'random is spread over all values, and what was given stays': ({ host }) => {
      const first = host.random(4096);
      const copy = first.slice();
      host.random(4096);
      assert.deepEqual(first, copy);
      assert.ok(new Set(first).size > 200);
    },
  },
  process: {
    'platform, pid and process start name this process and stay the same': ({ host }) => {
      assert.ok(host.platform.length > 0);
      assert.ok(Number.isInteger(host.pid) && host.pid > 0);
      assert.ok(host.processStart.length > 0);
      assert.deepEqual([host.pid, host.processStart], [host.pid, host.processStart]);
    },
  },
};

/** Waits for a sleeper, and keeps the process alive meanwhile: a sleep does not. */
async function awake(sleeping: Promise<unknown>): Promise<void> {
  const timer = setInterval(() => {}, 1000);
  try {
    await sleeping;
  } finally {
    clearInterval(timer);
  }
}
