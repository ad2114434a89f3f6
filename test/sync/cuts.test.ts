/** Connections that are cut anywhere: never a partial root, and the next transfer goes on where it was. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Store, openStore } from '../../engine/index.ts';
import { type Transport, pair, pull, push, serve } from '../../sync/index.ts';
import { seededBytes, seededRandom } from '../crash/random.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { assertSame, setTree } from './stores.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);
const cutsWanted = Number(process.env['HOLDFAST_CUTS'] ?? 5);
const mib = 1024 * 1024;

/** Passes bytes on until `after` have passed; then both ends are cut. */
function cutAfter(inner: Transport, after: number, passed: number[]): Transport {
  // As when a process dies: what it sent still arrives, or is lost with the way itself.
  const cut = (): Promise<void> => inner.close(after % 2 === 0 ? undefined : new Error('cut by the test'));
  let count = 0;
  return {
    async send(bytes) {
      if (count + bytes.length <= after) {
        count += bytes.length;
        passed.push(count);
        return await inner.send(bytes);
      }
      if (after > count) await inner.send(bytes.slice(0, after - count));
      count = after;
      passed.push(count);
      await cut();
      throw new Error('cut by the test');
    },
    receive: () => inner.receive(),
    close: (reason) => inner.close(reason),
  };
}

interface Run {
  readonly ends: readonly PromiseSettledResult<unknown>[];
  /** Where pieces ended that the cut side sent. */
  readonly passed: number[];
}

/** One transfer, whose serving or asking side is cut after so many bytes. */
async function transfer(
  how: {
    readonly direction: 'pull' | 'push';
    readonly cutSide: 'source' | 'replica';
    readonly after: number;
  },
  source: Store,
  replica: Store,
): Promise<Run> {
  const passed: number[] = [];
  const [one, other] = pair();
  const [atSource, atReplica] =
    how.cutSide === 'source'
      ? [cutAfter(one, how.after, passed), other]
      : [other, cutAfter(one, how.after, passed)];
  const ends = await Promise.allSettled(
    how.direction === 'pull'
      ? [pull(replica, atReplica), serve(source, atSource)]
      : [push(source, atSource), serve(replica, atReplica)],
  );
  return { ends, passed };
}

test(
  'a transfer that is cut at any place leaves no root, resumes, and sends little twice',
  { timeout: 120_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    const base = mkdtempSync(join(tmpdir(), 'holdfast-cuts-'));
    const options = { durability: 'relaxed', threads: { count: 0 }, parameters: smallParameters } as const;
    const source = await openStore(join(base, 'source'), options);
    const tree = new Map(
      Array.from({ length: 60 }, (_, i) => [`file ${i}`, seededBytes(i + 1, 200 + i * 40)]),
    );
    tree.set('large', seededBytes(1001, 4 * mib + 12_345));
    tree.set('larger', seededBytes(1002, 3 * mib + 1));
    await setTree(source, 'main', tree);
    const random = seededRandom(seed);
    let opened = 0;
    const fresh = (): Promise<Store> => openStore(join(base, `replica ${opened++}`), options);

    for (const direction of ['pull', 'push'] as const)
      for (const cutSide of ['source', 'replica'] as const) {
        const whole = await fresh();
        const full = await transfer({ direction, cutSide, after: Number.MAX_SAFE_INTEGER }, source, whole);
        assert.ok(full.ends.every(({ status }) => status === 'fulfilled'));
        await whole.close();
        const total = full.passed.at(-1)!;
        // At ends of what was sent together, around them, and anywhere.
        const places = [0, 1, ...full.passed.flatMap((at) => [at, at + 1]), total - 1].filter(
          (at) => at < total,
        );
        const anywhere = Array.from({ length: cutsWanted }, () => random.below(total));
        const chosen = [...places.filter(() => random.chance(cutsWanted / places.length)), ...anywhere].slice(
          -cutsWanted,
        );
        for (const after of chosen) {
          const replica = await fresh();
          const cut = await transfer({ direction, cutSide, after }, source, replica);
          const where = `${direction}, ${cutSide} cut after ${after} of ${total}`;
          const set = await replica.roots.get('main');
          // The last bytes only tell of what is done already.
          if (set === undefined)
            assert.ok(
              cut.ends.some(({ status }) => status === 'rejected'),
              where,
            );
          else await assertSame(source, replica, ['main']);
          const rest = await transfer(
            { direction, cutSide, after: Number.MAX_SAFE_INTEGER },
            source,
            replica,
          );
          assert.ok(
            rest.ends.every(({ status }) => status === 'fulfilled'),
            `${where}: ${JSON.stringify(rest.ends)}`,
          );
          await assertSame(source, replica, ['main']);
          const sent = after + (rest.passed.at(-1) ?? 0);
          if (cutSide === 'source')
            assert.ok(sent <= 1.05 * total + 1.1 * mib, `${where}: ${sent} bytes in all`);
          const { damaged } = await replica.scrub();
          assert.deepEqual(damaged, [], where);
          await replica.close();
          rmSync(join(base, `replica ${opened - 1}`), { recursive: true });
        }
      }
    await source.close();
    rmSync(base, { recursive: true });
  },
);

test(
  'cuts in a row: each transfer goes on, and the sum of all is little more than one',
  { timeout: 60_000 },
  async () => {
    const base = mkdtempSync(join(tmpdir(), 'holdfast-cuts-'));
    const options = { durability: 'relaxed', threads: { count: 0 } } as const;
    const source = await openStore(join(base, 'source'), options);
    const replica = await openStore(join(base, 'replica'), options);
    await setTree(source, 'main', new Map([['large', seededBytes(7, 18 * mib)]]));
    let sent = 0;
    for (let i = 0; i < 12; i++) {
      const cut = await transfer(
        { direction: 'pull', cutSide: 'source', after: 3 * mib + i * 2000 },
        source,
        replica,
      );
      sent += cut.passed.at(-1) ?? 0;
      if (cut.ends.every(({ status }) => status === 'fulfilled')) break;
      assert.equal(await replica.roots.get('main'), undefined);
    }
    await assertSame(source, replica, ['main']);
    assert.ok(sent <= 1.05 * 18 * mib + 12 * 1.1 * mib, `${sent} bytes`);
    // The beginnings that were kept are used up, and nobody holds them.
    await replica.gc({ graceMs: 0 });
    assert.equal((await replica.stats()).blobs, 2);
    await source.close();
    await replica.close();
    rmSync(base, { recursive: true });
  },
);
