/** Upkeep by itself: kept in the store, run once by one process, at its time, in its hours, when all is quiet. */
import assert from 'node:assert/strict';
import { chmodSync, renameSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { MaintenanceJob, OpenOptions, Store, StoreEvents } from '../../engine/index.ts';
import { type ManualHost, manualHost, until } from './manual-host.ts';
import { type StoreFolder, noise, putAll, sha256, storeTest, text, withCode } from './store-folder.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
/** Local midnight of a day without a change of clocks near it anywhere. */
const midnight = new Date(2025, 0, 15).getTime();

const sources = (count: number, size: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => noise(size, i + 1));

type Event = StoreEvents['maintenance'];

interface Watched {
  readonly store: Store;
  readonly events: Event[];
  /** How often a scheduled run of the job came to this step. */
  readonly count: (job: MaintenanceJob, step: string) => number;
}

async function openWatched(
  folder: StoreFolder,
  host: ManualHost,
  options: OpenOptions = {},
): Promise<Watched> {
  const store = await folder.open({ host, ...options });
  const events: Event[] = [];
  store.on('maintenance', (event) => events.push(event));
  const count = (job: string, step: string): number =>
    events.filter((event) => event.job === job && event.step === step).length;
  return { store, events, count };
}

/** Time passes minute by minute, and what it wakes comes to rest. */
async function pass(host: ManualHost, ms: number, step = minute): Promise<void> {
  for (let passed = 0; passed < ms; passed += step) {
    host.clock.advance(Math.min(step, ms - passed));
    for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

storeTest('a job runs at its times, in the store that is open, and tells of itself', async (folder) => {
  const host = manualHost(midnight + 30 * minute);
  const { store, events, count } = await openWatched(folder, host);
  assert.equal(await store.schedule(), undefined);
  const set = await store.schedule({ gc: { cron: '0 * * * *' } });
  assert.deepEqual(set, {
    options: { gc: { cron: '0 * * * *' } },
    jobs: [{ job: 'gc', nextMs: midnight + hour }],
    runsHere: false,
  });
  await pass(host, 29 * minute);
  assert.deepEqual(events, []);
  await pass(host, 2 * minute);
  await until(() => count('gc', 'ended') === 1, 'the first run');
  assert.deepEqual(
    events.map(({ step }) => step),
    ['begun', 'done', 'ended'],
  );
  const told = await store.schedule();
  assert.equal(told!.runsHere, true);
  assert.equal(told!.jobs[0]!.nextMs, midnight + 2 * hour);
  assert.ok(Math.abs(told!.jobs[0]!.lastMs! - (midnight + hour)) <= minute);
  await pass(host, hour);
  await until(() => count('gc', 'ended') === 2, 'the second run');
  assert.equal(await store.schedule(null), undefined);
  await pass(host, 3 * hour);
  assert.equal(count('gc', 'begun'), 2, 'removed, it runs no more');
});

storeTest('what was missed while nobody had the store open is made up once', async (folder) => {
  const before = manualHost(midnight);
  const first = await openWatched(folder, before);
  await first.store.schedule({ gc: { cron: '0 * * * *' } });
  await first.store.close();
  const host = manualHost(midnight + 10 * day + 30 * minute);
  const { store, count } = await openWatched(folder, host);
  // Set anew at each start, as applications do.
  await store.schedule({ gc: { cron: '0 * * * *' }, compact: { cron: '0 5 * * *' } });
  await pass(host, 20_000, 10_000);
  assert.equal(count('gc', 'begun'), 0, 'not while the application starts');
  await pass(host, 5 * minute);
  await until(() => count('gc', 'ended') === 1, 'the run that was missed');
  assert.equal(count('compact', 'begun'), 0);
  await pass(host, 20 * minute);
  assert.equal(count('gc', 'begun'), 1);
  await pass(host, 10 * minute);
  await until(() => count('gc', 'ended') === 2, 'the next one in its time');
});

storeTest('one process runs it; another one takes over when that is gone', async (folder) => {
  const host = manualHost(midnight + minute);
  const one = await openWatched(folder, host);
  const two = await openWatched(folder, host);
  await one.store.schedule({ gc: { cron: '0 * * * *' } });
  await pass(host, hour);
  await until(() => one.count('gc', 'ended') + two.count('gc', 'ended') === 1, 'one run');
  const [runs, rests] = one.count('gc', 'ended') === 1 ? [one, two] : [two, one];
  await pass(host, 3 * hour);
  await until(() => runs.count('gc', 'ended') === 4, 'its next runs');
  assert.equal(rests.count('gc', 'begun'), 0);
  assert.equal((await rests.store.schedule())!.runsHere, false);
  await runs.store.close();
  await pass(host, hour);
  await until(() => rests.count('gc', 'ended') === 1, 'a run of the other');
  assert.equal((await rests.store.schedule())!.runsHere, true);
});

storeTest('a process that died in a run: once more, then not before the next time', async (folder) => {
  const host = manualHost(midnight + minute);
  const first = await openWatched(folder, host);
  await first.store.schedule({ gc: { cron: '0 * * * *' } });
  await first.store.close();
  const dead = 'ab'.repeat(16);
  const die = (tries: number): void =>
    folder.edit((db) => {
      const row = db.prepare(`SELECT value FROM meta WHERE key = 'schedule'`).pluck().get() as string;
      const state = JSON.parse(row) as { owner?: string; jobs: { gc: object } };
      state.owner = dead;
      Object.assign(state.jobs.gc, { by: dead, tries });
      db.prepare(`UPDATE meta SET value = ? WHERE key = 'schedule'`).run(JSON.stringify(state));
    });
  die(1);
  await pass(host, 2 * hour, hour);
  const second = await openWatched(folder, host);
  await pass(host, 2 * minute);
  await until(() => second.count('gc', 'ended') === 1, 'the second try');
  await second.store.close();
  die(2);
  await pass(host, 2 * hour, hour);
  const third = await openWatched(folder, host);
  await pass(host, 2 * minute);
  await until(() => third.count('gc', 'skipped') === 1, 'giving up');
  assert.match(String(third.events[0]!.detail['why']), /died/);
  assert.equal(third.count('gc', 'begun'), 0);
  await pass(host, hour);
  await until(() => third.count('gc', 'ended') === 1, 'the next time');
});

storeTest('a claim of its own that could not be settled does not stand in the way', async (folder) => {
  const host = manualHost(midnight + minute);
  const { store, count } = await openWatched(folder, host);
  await store.schedule({ gc: { cron: '0 * * * *' } });
  await pass(host, 2 * minute);
  const db = new Database(folder.at('index.db'));
  const row = db.prepare(`SELECT value FROM meta WHERE key = 'schedule'`).pluck().get() as string;
  const state = JSON.parse(row) as { owner: string; jobs: { gc: object } };
  Object.assign(state.jobs.gc, { by: state.owner, tries: 1 });
  db.prepare(`UPDATE meta SET value = ? WHERE key = 'schedule'`).run(JSON.stringify(state));
  db.close();
  await pass(host, hour);
  await until(() => count('gc', 'ended') === 1, 'its run');
});

storeTest('a store in use is left alone; a job makes way, and goes on when all is quiet', async (folder) => {
  const host = manualHost(midnight + minute);
  const { store, events, count } = await openWatched(folder, host);
  const [id] = await putAll(store, sources(10, 40_000), 'me');
  // With this rate it waits for the clock, and the test can get in between.
  await store.schedule({ scrub: { cron: '0 * * * *', days: 0.04, rate: 20_000 }, idleMs: 5 * minute });
  for (let at = 0; at < 65; at++) {
    await store.get(id!);
    await pass(host, minute);
  }
  assert.deepEqual(
    events.map(({ step, detail }) => [step, detail['why']]),
    [['skipped', 'the store is in use']],
  );
  await pass(host, 6 * minute);
  await until(() => count('scrub', 'begun') === 1, 'a run when all is quiet');
  await store.get(id!);
  await until(() => count('scrub', 'yielded') === 1, 'making way');
  assert.equal((await store.schedule())!.jobs[0]!.nextMs, midnight + hour, 'it is as due as before');
  for (let at = 0; at < 40 && count('scrub', 'ended') === 0; at++) await pass(host, 5 * minute, 1_000);
  await until(() => count('scrub', 'ended') === 1, 'its end');
  assert.equal(count('scrub', 'begun'), 2);
});

storeTest(
  'a run is in one process only; a store that is closed ends it, and it goes on later',
  async (folder) => {
    const host = manualHost(midnight + minute);
    const { store, count } = await openWatched(folder, host);
    await putAll(store, sources(10, 40_000), 'me');
    await store.schedule({ scrub: { cron: '0 * * * *', days: 0.04, rate: 20_000 } });
    await pass(host, hour);
    await until(() => count('scrub', 'begun') === 1, 'a run');
    const other = await openWatched(folder, host, { schedule: 'leave' });
    const { skipped } = await other.store.maintain();
    assert.equal(skipped.find(({ job }) => job === 'scrub')!.why, 'running-elsewhere');
    const mine = await store.maintain();
    assert.equal(mine.skipped.find(({ job }) => job === 'scrub')!.why, 'running-elsewhere');
    await store.close();
    assert.deepEqual([count('scrub', 'yielded'), count('scrub', 'ended')], [1, 0]);
    assert.equal((await other.store.schedule())!.jobs[0]!.nextMs, midnight + hour, 'it is as due as before');
    const paced = other.store.maintain();
    const progress = { done: false };
    void paced.then(() => (progress.done = true));
    for (let at = 0; at < 400 && !progress.done; at++) await pass(host, 1_000, 1_000);
    const { scrub } = await paced;
    assert.ok(scrub!.blobs > 0);
    assert.ok((await other.store.schedule())!.jobs[0]!.nextMs > midnight + hour);
  },
);

storeTest('a scrub waits for its hours, and ends with them', async (folder) => {
  const host = manualHost(midnight + 20 * hour);
  const { store, events, count } = await openWatched(folder, host);
  await putAll(store, sources(10, 40_000), 'me');
  await store.schedule({
    scrub: { cron: '30 20 * * *', days: 1, rate: 1024, hours: { from: 23, to: 1 } },
  });
  await pass(host, 2 * hour);
  assert.deepEqual(
    events.map(({ step, detail }) => [step, detail['why']]),
    [['skipped', 'outside of its hours']],
  );
  await pass(host, hour + 2 * minute);
  await until(() => count('scrub', 'begun') === 1, 'a run in its hours');
  host.clock.advance(2 * hour);
  await until(() => count('scrub', 'ended') === 1, 'its end');
  const [last] = (await store.health()).scrubs;
  assert.equal(last!.complete, false);
  assert.ok((await store.schedule())!.jobs[0]!.nextMs > midnight + 44 * hour, 'it has had its turn');
});

storeTest('scrubs in shares keep the promise', async (folder) => {
  const host = manualHost(midnight);
  const { store, count } = await openWatched(folder, host);
  await putAll(store, sources(40, 17_000), 'me');
  await store.schedule({ scrub: { cron: '0 3 * * *', days: 5 } });
  let most = 0;
  for (let night = 0; night < 11; night++) {
    await pass(host, day, 6 * hour);
    await until(() => count('scrub', 'ended') === night + 1, `night ${night}`);
    const { promise, scrubs } = await store.health();
    assert.equal(promise.days, 5);
    assert.equal(promise.kept, true, `night ${night}`);
    assert.ok(scrubs[0]!.blobs > 0, 'each night reads something');
    if (night > 6) most = Math.max(most, scrubs[0]!.blobs);
  }
  assert.ok(most <= 16, `a night reads a share, not ${most} of 40`);
});

storeTest('a share is left in the middle of a folder, and the next one goes on there', async (folder) => {
  const host = manualHost(midnight);
  const { store, count } = await openWatched(folder, host);
  // All in one range of the directory.
  const together: Uint8Array[] = [];
  for (let seed = 1; together.length < 16; seed++) {
    const bytes = noise(17_000, seed);
    if (/^0[0-3]/.test(sha256(bytes))) together.push(bytes);
  }
  const ids = await putAll(store, together, 'me');
  await store.schedule({ scrub: { cron: '0 3 * * *', days: 8 } });
  for (let night = 1; night <= 7; night++) {
    await pass(host, day, 6 * hour);
    await until(() => count('scrub', 'ended') === night, `night ${night}`);
    const [last] = (await store.health()).scrubs;
    assert.ok(last!.blobs >= 2 && last!.blobs <= 5, `${last!.blobs} in night ${night}`);
  }
  for (const id of ids) assert.notEqual((await store.stat(id))!.verifiedMs, undefined);
});

storeTest('clocks that are set back or run ahead neither stop it nor let it run wild', async (folder) => {
  const host = manualHost(midnight + minute);
  const { store, count } = await openWatched(folder, host);
  await store.schedule({ gc: { cron: '0 * * * *' } });
  host.clock.set(midnight + 3650 * day);
  await pass(host, 3 * minute);
  await until(() => count('gc', 'ended') === 1, 'one run for ten years');
  await pass(host, 30 * minute);
  assert.equal(count('gc', 'begun'), 1);
  host.clock.set(midnight + day);
  await pass(host, 5 * minute);
  assert.equal(count('gc', 'begun'), 1);
  await pass(host, hour);
  await until(() => count('gc', 'ended') === 2, 'the next hour of the right time');
});

storeTest('trouble is told, and thrown at nobody', async (folder) => {
  const host = manualHost(midnight + minute);
  const { store, events } = await openWatched(folder, host);
  await store.schedule({ gc: { cron: '0 * * * *' } });
  await store.close();
  folder.edit((db) => db.prepare(`UPDATE meta SET value = '{' WHERE key = 'schedule'`).run());
  const again = await openWatched(folder, host);
  await pass(host, 3 * hour);
  assert.deepEqual(
    again.events.map(({ step, detail }) => [step, detail['code']]),
    [['failed', 'corrupt']],
  );
  await assert.rejects(again.store.schedule(), withCode('corrupt'));
  await again.store.schedule({ gc: { cron: '0 * * * *' } });
  await pass(host, hour);
  await until(() => again.count('gc', 'ended') === 1, 'a run of the new one');
  assert.deepEqual(events, []);
});

storeTest('what is no schedule is refused; who leaves it or only reads runs nothing', async (folder) => {
  const host = manualHost(midnight + minute);
  const { store } = await openWatched(folder, host, { schedule: 'leave' });
  const wrong: unknown[] = [
    {},
    { gc: { cron: '61 * * * *' } },
    { gc: { cron: '* * * * * *' } },
    { gc: { cron: '2030-01-01T00:00:00' } },
    { gc: { cron: '0 0 30 2 *' } },
    { gc: { cron: 7 } },
    { defrag: { cron: '0 * * * *' } },
    { scrub: { cron: '0 * * * *', days: 0 } },
    { scrub: { cron: '0 * * * *', rate: 10 } },
    { scrub: { cron: '0 * * * *', timeBoxMs: -1 } },
    { scrub: { cron: '0 * * * *', hours: { from: 3, to: 3 } } },
    { scrub: { cron: '0 * * * *', hours: { from: 3, to: 24 } } },
    { gc: { cron: '0 * * * *' }, idleMs: 0 },
  ];
  for (const options of wrong)
    await assert.rejects(store.schedule(options as never), withCode('invalid-argument'));
  assert.equal(await store.schedule(), undefined);
  await store.schedule({ gc: { cron: '@hourly' } });
  const reader = await openWatched(folder, host, { mode: 'read-only' });
  await assert.rejects(reader.store.schedule(null), withCode('forbidden'));
  assert.equal((await reader.store.schedule())!.jobs.length, 1);
  await pass(host, 2 * hour);
  assert.equal((await store.schedule())!.jobs[0]!.lastMs, undefined);
});

storeTest('maintain: what is due, once, and its write-ahead log copied back', async (folder) => {
  const host = manualHost(midnight);
  const { store } = await openWatched(folder, host, { schedule: 'leave' });
  await store.put(text('loose'));
  host.clock.advance(2 * day);
  const all = await store.maintain();
  assert.deepEqual([all.gc!.deleted, all.scrub!.blobs, all.compact!.volumes], [1, 0, 0]);
  assert.deepEqual([all.skipped, all.walBytes], [[], 0]);
  // A share that is everything is a whole scrub, which counts references and settles doubts.
  await putAll(store, sources(3, 20_000), 'me');
  await store.put(noise(900_000, 9), { owner: 'me', chunking: 'fastcdc' });
  assert.equal((await store.maintain({ days: 0.01 })).scrub!.complete, true);
  // By a longer promise nothing is due right after it.
  const again = await store.maintain({ days: 1000 });
  assert.deepEqual([again.scrub, again.skipped], [undefined, [{ job: 'scrub', why: 'not-due' }]]);
  host.clock.advance(2 * hour);
  assert.equal((await store.maintain({ days: 1000 })).scrub!.complete, false);
  await store.schedule({ gc: { cron: '0 3 * * *' }, scrub: { cron: '0 4 * * 0' } });
  const none = await store.maintain();
  assert.deepEqual(
    none.skipped.map(({ job, why }) => [job, why]),
    [
      ['gc', 'not-due'],
      ['scrub', 'not-due'],
      ['compact', 'not-due'],
    ],
  );
  host.clock.advance(day);
  const due = await store.maintain();
  assert.ok(due.gc !== undefined && due.scrub === undefined);
  assert.equal((await store.maintain()).gc, undefined, 'once');
  // After a clock that ran ahead was set right, too.
  host.clock.set(midnight + 3650 * day);
  assert.ok((await store.maintain()).gc !== undefined);
  host.clock.set(midnight + 10 * day);
  await store.maintain();
  host.clock.advance(day);
  assert.ok((await store.maintain()).gc !== undefined);
  await assert.rejects(store.maintain({ timeBoxMs: 0 }), withCode('invalid-argument'));
  await assert.rejects(store.maintain({ days: -1 }), withCode('invalid-argument'));
  const stopped = AbortSignal.abort(new Error('enough'));
  await assert.rejects(store.maintain({ signal: stopped }), /enough/);
});

storeTest(
  'maintain: what the last scrub did not reach, and what was found damaged since, is due',
  async (folder) => {
    const host = manualHost(midnight);
    const { store } = await openWatched(folder, host, { schedule: 'leave' });
    const { id } = await store.put(noise(40_000), { owner: 'me' });
    const isDue = async (): Promise<boolean> => (await store.maintain({ days: 1000 })).scrub !== undefined;
    await store.scrub();
    assert.equal(await isDue(), false);
    const blobs = folder.at('blobs');
    renameSync(blobs, `${blobs}.away`);
    host.clock.advance(minute);
    const { complete, unreachable } = await store.scrub();
    assert.deepEqual([complete, unreachable], [true, 1]);
    assert.equal(await isDue(), true, 'a volume is away');
    renameSync(`${blobs}.away`, blobs);
    assert.equal(await isDue(), true, 'it is back');
    await store.scrub();
    assert.equal(await isDue(), false);

    const [path] = folder.files('blobs').filter((name) => !name.includes('label'));
    chmodSync(path!, 0o644);
    writeFileSync(path!, noise(40_000, 3));
    await assert.rejects(store.get(id), withCode('corrupt'));
    while ((await store.stats()).suspect === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await isDue(), true, 'a read found damage');
    await store.put(noise(40_000));
  },
);
