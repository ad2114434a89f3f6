/** Threads of a store: one that dies fails everything clearly, the calling thread stays free, closing waits for what is under way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Thread } from '../../engine/host.ts';
import { type Host, type Store, type StoreEvents, nodeHost } from '../../engine/index.ts';
import { sample } from '../crash/sample.ts';
import { type StoreFolder, noise, sha256, smallParameters, storeTest, withCode } from './store-folder.ts';

const large = noise(300_000, 2);

/** A host whose threads a test can reach; of workers only `most` start. Each look at its clock takes `tickMs`. */
function reachable({ most = Number.POSITIVE_INFINITY, tickMs = 200 } = {}): {
  host: Host;
  started: { entry: string; thread: Thread }[];
} {
  const below = nodeHost();
  const started: { entry: string; thread: Thread }[] = [];
  let nowMs = 0;
  const host: Host = {
    ...below,
    clock: { ...below.clock, monotonic: () => (nowMs += tickMs) },
    threads: {
      ...below.threads,
      async start(entry) {
        if (started.length > most) throw new Error('no thread to spare');
        const thread = await below.threads.start(entry);
        started.push({ entry: entry.pathname, thread });
        return thread;
      },
    },
  };
  return { host, started };
}

type Call = (store: Store) => Promise<unknown>;
const calls: Record<string, Call> = {
  'a small put': (store) => store.put(noise(100, 7)),
  'a large put': (store) => store.put(noise(200_000, 7)),
  'a put from a stream': (store) =>
    store.put(
      (async function* () {
        for (let i = 0; i < 20; i++) {
          await sleep(2);
          yield noise(20_000, i);
        }
      })(),
    ),
  get: (store) => store.get(sha256(large)),
  retain: (store) => store.retain(sha256(large), 'y'),
  root: (store) => store.roots.set('r', sha256(large)),
  stat: (store) => store.stat(sha256(large)),
  gc: (store) => store.gc(),
  scrub: (store) => store.scrub(),
  session: (store) => store.session(),
};

for (const victim of ['commit', 'work']) {
  storeTest(
    `the death of a ${victim} thread fails every call with needs-reopen, and is told once`,
    async (folder) => {
      const { host, started } = reachable();
      const store = await folder.open({ host, threads: { count: 2 } });
      await store.put(large, { owner: 'x' });
      const told: StoreEvents['needs-reopen'][] = [];
      store.on('needs-reopen', (event) => told.push(event));
      const stream = await store.stream(sha256(large));
      const reader = stream!.getReader();
      await reader.read();

      // Settled from the start: one that fails before its turn comes below is not left unhandled.
      const flying = Object.entries(calls).map(
        ([name, call]) => [name, Promise.allSettled([call(store)])] as const,
      );
      // No message of ours: the thread's own handler throws, and nobody catches that.
      for (const { entry, thread } of started) if (entry.includes(`/${victim}.`)) thread.port.post(null);
      for (const [name, call] of flying) {
        const [settled] = await call;
        const failed: unknown = settled.status === 'rejected' ? settled.reason : undefined;
        if (failed !== undefined) withCode('needs-reopen')(failed);
        else assert.ok(!/stream/.test(name), `${name} cannot have been done`);
      }
      for (const [name, call] of Object.entries(calls))
        await assert.rejects(call(store), withCode('needs-reopen'), name);
      await assert.rejects(async () => {
        for (;;) if ((await reader.read()).done) return;
      }, withCode('needs-reopen'));
      assert.deepEqual(
        told.map(({ code }) => code),
        ['needs-reopen'],
      );
      assert.match(told[0]!.message, /thread/);
      await store.close();

      const again = await folder.open({ threads: { count: 2 } });
      assert.equal(sha256((await again.get(sha256(large)))!), sha256(large));
      for (const [name, call] of Object.entries(calls)) {
        const result = await call(again);
        if (name === 'session') await (result as { end(): Promise<void> }).end();
      }
    },
  );
}

storeTest('an idle thread that dies is noticed, too', async (folder) => {
  const { host, started } = reachable();
  const store = await folder.open({ host, threads: { count: 2 } });
  const told = new Promise<StoreEvents['needs-reopen']>((resolve) => {
    store.on('needs-reopen', resolve);
  });
  // One that is open spares the next the way to the commit thread; it is refused all the same.
  await store.session();
  started.at(-1)!.thread.port.post(null);
  assert.equal((await told).code, 'needs-reopen');
  await assert.rejects(store.session(), withCode('needs-reopen'));
  await assert.rejects(store.put(noise(10)), withCode('needs-reopen'));
  await store.close();
  await assert.rejects(store.put(noise(10)), withCode('closed'));
});

/** One that reads and one that hashes work for a file, so there are two for it. */
const file = (folder: StoreFolder, seed: number) => ({ path: folder.file(`f${seed}`, noise(200_000, seed)) });

storeTest('threads start when there is work for them, and no more than were allowed', async (folder) => {
  const { host, started } = reachable();
  const store = await folder.open({ host, threads: { count: 3 } });
  const { id } = await store.put(noise(100, 1), { owner: 'x' });
  await store.get(id);
  await store.roots.set('r', id);
  assert.equal(started.length, 2, 'one that commits and one that works do for one call after the other');
  await store.put(file(folder, 2), { owner: 'x' });
  assert.equal(started.length, 3);
  const reading = (): Promise<unknown> => Promise.all(Array.from({ length: 9 }, () => store.get(id)));
  for (let i = 0; i < 50 && started.length < 4; i++) await reading();
  for (let i = 0; i < 5; i++) await reading();
  assert.equal(started.length, 4);
  await store.stats();
});

storeTest('work that is over sooner than a thread starts gets no further one', async (folder) => {
  const { host, started } = reachable({ tickMs: 0 });
  const store = await folder.open({ host, threads: { count: 3 } });
  const { id } = await store.put(noise(100, 1), { owner: 'x' });
  for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 9 }, () => store.get(id)));
  await store.close();
  assert.equal(started.length, 2);
});

storeTest(
  'a few calls that wait get no further thread, where many that wait as long get one',
  async (folder) => {
    const { host, started } = reachable({ tickMs: 60 });
    const store = await folder.open({ host, threads: { count: 2 } });
    const { id } = await store.put(noise(100, 1), { owner: 'x' });
    const reading = (calls: number): Promise<unknown> =>
      Promise.all(Array.from({ length: calls }, () => store.get(id)));
    for (let i = 0; i < 20; i++) await reading(9);
    assert.equal(started.length, 2);
    await reading(40);
    await store.stats();
    assert.equal(started.length, 3);
  },
);

storeTest('where no further thread can be had, those that are here do the work', async (folder) => {
  const { host, started } = reachable({ most: 1 });
  const store = await folder.open({ host, threads: { count: 3 } });
  const puts = await Promise.all(
    Array.from({ length: 6 }, (_, i) => store.put(i < 3 ? file(folder, i) : noise(100, i), { owner: 'x' })),
  );
  for (const { id } of puts) assert.equal(sha256((await store.get(id))!), id);
  await store.scrub();
  assert.equal(started.length, 2);
});

storeTest('a store that gets no worker is not opened, and leaves no thread behind', async (folder) => {
  const { host, started } = reachable();
  const start = async (entry: URL): Promise<Thread> => {
    if (entry.pathname.includes('/work.')) throw new Error('no thread to spare');
    return await host.threads.start(entry);
  };
  const poor = { ...host, threads: { ...host.threads, start } };
  await assert.rejects(folder.open({ host: poor, threads: { count: 2 } }), withCode('unavailable'));
  assert.equal(started.length, 1);
  assert.equal(await Promise.race([started[0]!.thread.ended, sleep(0, 'it runs')]), undefined);
  await folder.open();
});

storeTest('a thread that dies before it has work is missed by nobody', async (folder) => {
  const { host, started } = reachable();
  const dying: Host = {
    ...host,
    threads: {
      ...host.threads,
      async start(entry) {
        const thread = await host.threads.start(entry);
        if (started.length > 2) thread.port.post(null);
        return thread;
      },
    },
  };
  const store = await folder.open({ host: dying, threads: { count: 2 } });
  const { id } = await store.put(file(folder, 1), { owner: 'x' });
  assert.equal(sha256((await store.get(id))!), id);
  assert.equal(started.length, 3);
});

storeTest('closing a store that is just getting a thread leaves none behind', async (folder) => {
  const { host, started } = reachable();
  const store = await folder.open({ host, threads: { count: 2 } });
  const { id } = await store.put(noise(100, 1), { owner: 'x' });
  await Promise.all(Array.from({ length: 9 }, () => store.get(id)));
  await store.close();
  assert.equal(started.length, 3);
  for (const { thread } of started) assert.equal(await thread.ended, undefined);
});

/** What this thread has worked so far, in milliseconds; where Node cannot tell, the time. */
function workedMs(): number {
  if (!('threadCpuUsage' in process)) return performance.now();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/**
 * How long turns of the calling thread's event loop take while some work runs, in milliseconds: all but the hundredth part that is
 * longest. By the thread's own work: on a busy machine the clock tells more of the others.
 */
async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  const turns: number[] = [];
  let last = workedMs();
  const look = (): void => {
    const now = workedMs();
    turns.push(now - last);
    last = now;
  };
  const timer = setInterval(look, 1);
  await work();
  clearInterval(timer);
  look();
  return turns.sort((a, b) => a - b)[Math.floor(turns.length * 0.99)]!;
}

test('a thread that is kept busy is seen', async () => {
  const busy = await turnsOf(async () => {
    await sleep(5);
    for (const end = workedMs() + 100; workedMs() < end;);
    await sleep(5);
  });
  assert.ok(busy > 90, `${busy} ms`);
});

const many = sample(5000, 500);

storeTest('the calling thread stays free while much is put', async (folder) => {
  const store = await folder.open({ threads: {}, parameters: {} });
  const path = folder.file('large', Buffer.alloc(sample(64, 32) * 1024 * 1024, noise(1021)));
  const paths = Array.from({ length: many }, (_, i) => folder.file(`small-${i}`, `content ${i}`));
  const one = await turnsOf(() => store.put({ path }, { owner: 'x' }));
  assert.ok(one < 50, `${one} ms during a large put`);
  // As many at once as a careful caller has; starting thousands in one turn would be a delay of the caller's own.
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < paths.length) await store.put({ path: paths[next++]! }, { owner: 'x' });
  };
  const small = await turnsOf(() => Promise.all(Array.from({ length: 256 }, lane)));
  assert.ok(small < 50, `${small} ms during many small puts`);
  assert.equal((await store.stats()).blobs, many + 1);
});

for (const count of [0, 2]) {
  storeTest(`closing waits for puts under way, with ${count} threads`, async (folder) => {
    const store = await folder.open({ threads: { count } });
    const puts = Array.from({ length: 60 }, (_, i) =>
      store.put(noise(i % 5 === 0 ? 30_000 + i : 500 + i, i), { owner: 'x' }),
    );
    let closed = false;
    const closing = store.close().then(() => {
      closed = true;
    });
    const early = await Promise.all(puts.map((put) => put.then(() => closed)));
    assert.ok(!early.includes(true), 'no put ended after the close');
    await closing;
    await assert.rejects(store.put(noise(5)), withCode('closed'));
    const again = await folder.open({ threads: { count } });
    assert.equal((await again.stats()).blobs, 60);
  });

  storeTest(`everything after close fails with closed, with ${count} threads`, async (folder) => {
    const store = await folder.open({ threads: { count } });
    await store.put(large, { owner: 'x' });
    const begun = (await store.stream(sha256(large)))!.getReader();
    await begun.read();
    const lazy = (await store.stream(sha256(large)))!.getReader();
    const session = await store.session();
    await Promise.all([store.close(), store.close()]);
    await store.close();
    for (const [name, call] of Object.entries(calls))
      await assert.rejects(call(store), withCode('closed'), name);
    await assert.rejects(lazy.read(), withCode('closed'));
    await assert.rejects(begun.read(), withCode('closed'));
    await assert.rejects(session.end(), withCode('closed'));
    await assert.rejects(async () => {
      for await (const blob of store.list()) assert.ok(blob);
    }, withCode('closed'));
    await assert.rejects(store.sideTable('t').get(['k']), withCode('closed'));
  });
}

storeTest('a read that is under way when the store is closed is finished first', async (folder) => {
  const store = await folder.open({ threads: { count: 2 }, parameters: smallParameters });
  await store.put(large, { owner: 'x' });
  const reads = Array.from({ length: 20 }, (_, i) => store.readRange(sha256(large), i * 1000, 5000));
  const whole = store.get(sha256(large));
  await store.close();
  for (const bytes of await Promise.all(reads)) assert.equal(bytes?.length, 5000);
  assert.equal(sha256((await whole)!), sha256(large));
});
