/** Transfers while both stores are written to, roots move, and everything unreferenced is collected with no grace. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Store, StoreError, openStore } from '../../engine/index.ts';
import { pair, pull, push, receiveStream, sendStream, serve } from '../../sync/index.ts';
import { type Random, seededBytes, seededRandom } from '../crash/random.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { closureOf, setTree } from './stores.ts';

/** What a transfer may end with when its ground is pulled from under it: and then nothing has changed by it. */
const allowed = ['conflict', 'busy', 'not-found'];

/** Writes a few trees of overlapping content, and moves and deletes roots. */
async function writer(
  store: Store,
  random: Random,
  { name, pace }: { readonly name: string; readonly pace: () => Promise<void> },
): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const tree = new Map(
      Array.from({ length: 3 + random.below(10) }, (_, n) => [
        `f${n}`,
        seededBytes(random.below(60), 30 + random.below(3) * 6000),
      ]),
    );
    await setTree(store, `${name} ${random.below(2)}`, tree);
    await pace();
    if (random.chance(0.4)) await store.roots.delete(`${name} ${random.below(2)}`);
  }
}

async function collector(store: Store, pace: () => Promise<void>, done: () => boolean): Promise<void> {
  while (!done()) {
    const { blocked } = await store.gc({ graceMs: 0 });
    assert.equal(blocked, undefined);
    await pace();
  }
}

/** Pulls, pushes, and streams as they come. */
async function transfers([a, b]: readonly [Store, Store], random: Random, report: RaceReport): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const [here, there] = pair();
    const way = random.below(3);
    const ends = await Promise.allSettled(
      way === 0
        ? [pull(b, here), serve(a, there)]
        : way === 1
          ? [push(a, here), serve(b, there)]
          : [receiveStream(b, sendStream(a, `a ${random.below(2)}`, { partBytes: 8000 }))],
    );
    report.transfers++;
    if (ends.some(({ status }) => status === 'rejected')) report.refused++;
    for (const end of ends)
      if (end.status === 'rejected') {
        const error: unknown = end.reason;
        assert.ok(StoreError.is(error), String((error as Error).stack ?? error));
        assert.ok(allowed.includes(error.code), `${error.code}: ${error.message}`);
      }
  }
}

export interface RaceReport {
  /** Transfers that were tried, and those that ended with an error because their ground was pulled away. */
  transfers: number;
  refused: number;
}

/** One race; throws when anything reachable is lost, or two stores do not become the same in the end. */
export async function race(seed: number): Promise<RaceReport> {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-races-'));
  const random = seededRandom(seed);
  const options = { durability: 'relaxed', threads: { count: 0 }, parameters: smallParameters } as const;
  const [a, b] = [await openStore(join(base, 'a'), options), await openStore(join(base, 'b'), options)];
  const pace = async (): Promise<void> => {
    for (let turns = random.below(20); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve));
  };
  const report = { transfers: 0, refused: 0 };
  let over = false;
  const collecting = [collector(a, pace, () => over), collector(b, pace, () => over)];
  try {
    await Promise.all([
      writer(a, seededRandom(seed, 1), { name: 'a', pace }),
      writer(b, seededRandom(seed, 2), { name: random.chance(0.5) ? 'b' : 'a', pace }),
      transfers([a, b], random, report),
    ]);
  } finally {
    over = true;
    await Promise.all(collecting);
  }
  for (const store of [a, b]) {
    for (const { id } of await store.roots.list()) await closureOf(store, id);
    const { damaged, recounted } = await store.scrub();
    assert.deepEqual([damaged, recounted], [[], 0]);
  }
  // Undisturbed, they become the same, also where both set a root in turn: then it goes back to what it was here before.
  const [here, there] = pair();
  await Promise.all([pull(b, here, { rollback: 'allow' }), serve(a, there)]);
  for (const { name, id } of await a.roots.list()) assert.equal(await b.roots.get(name), id);
  await a.close();
  await b.close();
  rmSync(base, { recursive: true });
  return report;
}
