/** The pace of background work: it gives way to puts and reads; the rate of a scrub is held within 5 % by several threads together, in the steps in which volumes are read, whatever timers and disks do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Foreground, GivingWay } from '../../engine/content/giving-way.ts';
import { paceMemory } from '../../engine/content/pace.ts';
import { Turns } from '../../engine/content/turns.ts';
import type { Clock } from '../../engine/host.ts';

/** Time that passes when all that could be done in it is done. Timers are as late as the test says. */
class SimulatedClock implements Clock {
  readonly #late: () => number;
  #ms = 0;
  #timers: { readonly at: number; readonly wake: () => void }[] = [];

  constructor(late: () => number) {
    this.#late = late;
  }

  now(): number {
    return this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  sleep(ms: number): Promise<void> {
    return this.work(ms + this.#late());
  }

  yield(): Promise<void> {
    return this.work(0);
  }

  work(ms: number): Promise<void> {
    return new Promise((wake) => void this.#timers.push({ at: this.#ms + ms, wake }));
  }

  async runUntil(ms: number): Promise<void> {
    while (this.#ms < ms) {
      await new Promise((resolve) => void setImmediate(resolve));
      this.#timers.sort((a, b) => a.at - b.at);
      const next = this.#timers.shift();
      if (next === undefined) return;
      this.#ms = Math.max(this.#ms, next.at);
      next.wake();
    }
  }
}

const KiB = 1024;
const seconds = 12;
/** What a worker reads between two looks at the rate: slices of files, extents, and the small ends of both. */
const steps = [256 * KiB, 256 * KiB, 64 * KiB, 66 * KiB, 61 * KiB, 256 * KiB, 3 * KiB];

interface Machine {
  readonly name: string;
  readonly rate: number;
  readonly threads: number;
  /** Bytes a second that one thread reads and verifies. */
  readonly speed: number;
  /** Milliseconds by which timers are late. */
  readonly late: number;
}

const machines: readonly Machine[] = [
  { name: 'slow, one thread', rate: 1_000_000, threads: 1, speed: 200e6, late: 1 },
  { name: 'two threads', rate: 20_000_000, threads: 2, speed: 300e6, late: 2 },
  { name: 'four threads, a loaded machine', rate: 50_000_000, threads: 4, speed: 40e6, late: 25 },
  { name: 'one thread, a loaded machine', rate: 20_000_000, threads: 1, speed: 100e6, late: 40 },
  { name: 'fast', rate: 400_000_000, threads: 2, speed: 700e6, late: 1 },
];

for (const { name, rate, threads, speed, late } of machines)
  test(`a rate of ${rate / 1e6} MB/s is held: ${name}`, async () => {
    let turn = 0;
    const clock = new SimulatedClock(() => (late * (turn++ % 5)) / 4);
    const memory = paceMemory();
    const signal = new AbortController().signal;
    const read: { readonly ms: number; readonly bytes: number }[] = [];
    const worker = async (first: number): Promise<void> => {
      const turns = new Turns(clock, { pace: { bytesPerSecond: rate, elapsedMs: 0, memory } }, signal);
      for (let at = first; ; at++) {
        const bytes = steps[at % steps.length]!;
        await clock.work((bytes / speed) * 1000);
        read.push({ ms: clock.monotonic(), bytes });
        await turns.after(bytes);
      }
    };
    for (let i = 0; i < threads; i++) void worker(i);
    await clock.runUntil(seconds * 1000);
    const between = (fromMs: number, toMs: number): number =>
      read.reduce((sum, { ms, bytes }) => (ms > fromMs && ms <= toMs ? sum + bytes : sum), 0);
    const off = between(0, seconds * 1000) / (rate * seconds) - 1;
    assert.ok(Math.abs(off) <= 0.05, `${(off * 100).toFixed(1)} % off`);
    for (let from = 0; from + 5000 <= seconds * 1000; from += 1000) {
      const there = between(from, from + 5000) / (rate * 5) - 1;
      assert.ok(Math.abs(there) <= 0.1, `${(there * 100).toFixed(1)} % off from second ${from / 1000}`);
    }
  });

for (const threads of [1, 3])
  test(`beside puts that follow each other ${threads} worker(s) read half a megabyte each between two`, async () => {
    const clock = new SimulatedClock(() => 0);
    const foreground = new Foreground();
    let [read, puts] = [0, 0];
    const worker = async (): Promise<void> => {
      const turns = new Turns(clock, { foreground: foreground.memory }, new AbortController().signal);
      for (;;) {
        await clock.work(0.1);
        read += 64 * KiB;
        await turns.after(64 * KiB);
      }
    };
    const put = async (ms: number): Promise<void> => {
      foreground.begin();
      await clock.work(ms);
      puts++;
      foreground.end();
    };
    for (let i = 0; i < threads; i++) void worker();
    const perTurn = threads * 512 * KiB;
    const caller = (async () => {
      for (let i = 0; i < 100; i++) await put(3);
    })();
    await clock.runUntil(250);
    assert.ok(puts > 60, `${puts} puts`);
    // One more for what was begun before the first, one for the last.
    assert.ok(read <= (puts + 2) * perTurn, `${read} bytes beside ${puts} puts`);
    assert.ok(read >= (puts - 2) * perTurn, `only ${read} bytes beside ${puts} puts`);
    await Promise.all([caller, clock.runUntil(400)]);
    // One that hangs is not waited for.
    const before = read;
    const hanging = put(1000);
    await clock.runUntil(900);
    assert.ok(read - before > 50 * perTurn, `${read - before} bytes beside a put that hangs`);
    await Promise.all([hanging, clock.runUntil(2000)]);
  });

test('where blobs are tiny, a turn is over after two milliseconds', async () => {
  const clock = new SimulatedClock(() => 0);
  const foreground = new Foreground();
  const turns = new Turns(clock, { foreground: foreground.memory }, new AbortController().signal);
  let extents = 0;
  foreground.begin();
  void (async () => {
    for (;;) {
      await clock.work(0.7);
      extents++;
      await turns.after(4 * KiB);
    }
  })();
  await clock.runUntil(3);
  assert.equal(extents, 3);
});

test('a turn lets others run also after one that was woken too early', async () => {
  const others = (): Promise<void> => new Promise((done) => void setImmediate(done));
  const clock = { sleep: others, yield: others } as unknown as Clock;
  const foreground = new Foreground();
  const way = new GivingWay(clock, foreground.memory);
  foreground.begin();
  const woken = way.turn();
  // An end is counted first and told then: whoever comes in between, beside another put, is told of the one before.
  Atomics.notify(new Int32Array(foreground.memory), 1);
  await woken;
  for (let turn = 1; turn <= 3; turn++) {
    let ran = false;
    setImmediate(() => void (ran = true));
    await way.turn();
    assert.ok(ran, `nobody ran in turn ${turn}`);
  }
});
