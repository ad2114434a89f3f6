/** Transfers while both stores are written to, roots move, and everything unreferenced is collected with no grace: nothing is lost. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Store, StoreError, openStore } from '../../engine/index.ts';
import { pair, pull, push, serve } from '../../sync/index.ts';
import { type Random, seededBytes, seededRandom } from '../crash/random.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { closureOf, setTree } from './stores.ts';

const first = Number(process.env['HOLDFAST_SEED'] ?? 1);
const seeds = Number(process.env['HOLDFAST_RUNS'] ?? 20);
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

async function transfers(a: Store, b: Store, random: Random): Promise<void> {
  for (let i = 0; i < 3; i++) {
    const [here, there] = pair();
    const ends = await Promise.allSettled(
      random.chance(0.5) ? [pull(b, here), serve(a, there)] : [push(a, here), serve(b, there)],
    );
    for (const end of ends)
      if (end.status === 'rejected') {
        const error: unknown = end.reason;
        assert.ok(StoreError.is(error), String((error as Error).stack ?? error));
        assert.ok(allowed.includes(error.code), `${error.code}: ${error.message}`);
      }
  }
}

test(
  `two writers, collection on both sides, and transfers between them lose nothing (${seeds} seeds)`,
  { timeout: 240_000 },
  async (t) => {
    for (let seed = first; seed < first + seeds; seed++) {
      const base = mkdtempSync(join(tmpdir(), 'holdfast-races-'));
      t.diagnostic(`seed ${seed}`);
      const random = seededRandom(seed);
      const options = { durability: 'relaxed', threads: { count: 0 }, parameters: smallParameters } as const;
      const [a, b] = [await openStore(join(base, 'a'), options), await openStore(join(base, 'b'), options)];
      const pace = async (): Promise<void> => {
        for (let turns = random.below(20); turns > 0; turns--)
          await new Promise((resolve) => setImmediate(resolve));
      };
      let over = false;
      const collecting = [collector(a, pace, () => over), collector(b, pace, () => over)];
      try {
        await Promise.all([
          writer(a, seededRandom(seed, 1), { name: 'a', pace }),
          writer(b, seededRandom(seed, 2), { name: random.chance(0.5) ? 'b' : 'a', pace }),
          transfers(a, b, random),
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
      // Undisturbed, they become the same.
      const [here, there] = pair();
      await Promise.all([pull(b, here), serve(a, there)]);
      for (const { name, id } of await a.roots.list()) assert.equal(await b.roots.get(name), id);
      await a.close();
      await b.close();
      rmSync(base, { recursive: true });
    }
  },
);
