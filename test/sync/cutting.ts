/** Transfers over connections that are cut: at ends of frames and anywhere, by either side, in either direction; and what must hold then. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Store, nodeProvider, openStore } from '../../engine/index.ts';
import { type Transport, pair, pull, push, serve } from '../../sync/index.ts';
import { FrameReader } from '../../sync/protocol/frame.ts';
import { seededBytes, seededRandom } from '../crash/random.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { assertSame, setTree } from './stores.ts';

const mib = 1024 * 1024;

/** What one side sent before it was cut. */
interface Sent {
  bytes: number;
  /** Where frames end, in what would have been sent too. */
  readonly frameEnds: number[];
}

/** Passes bytes on until `after` have passed; then both ends are cut. */
function cutAfter(inner: Transport, after: number, sent: Sent): Transport {
  // As when a process dies: what it sent still arrives, or is lost with the way itself.
  const cut = (): Promise<void> => inner.close(after % 2 === 0 ? undefined : new Error('cut by the test'));
  const reader = new FrameReader(nodeProvider);
  let framed = 0;
  return {
    async send(bytes) {
      reader.push(bytes.slice());
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
        framed += frame.head.length + frame.payload.length;
        sent.frameEnds.push(framed);
      }
      if (sent.bytes + bytes.length <= after) {
        sent.bytes += bytes.length;
        return await inner.send(bytes);
      }
      if (after > sent.bytes) await inner.send(bytes.slice(0, after - sent.bytes));
      sent.bytes = after;
      await cut();
      throw new Error('cut by the test');
    },
    receive: () => inner.receive(),
    close: (reason) => inner.close(reason),
  };
}

export interface CutTransfer {
  readonly direction: 'pull' | 'push';
  readonly cutSide: 'source' | 'replica';
  /** Bytes of that side; everything without it. */
  readonly after?: number;
}

export interface CutRun {
  readonly ends: readonly PromiseSettledResult<unknown>[];
  readonly sent: Sent;
}

/** One transfer, whose serving or asking side is cut after so many bytes. */
export async function cutTransfer(how: CutTransfer, source: Store, replica: Store): Promise<CutRun> {
  const sent: Sent = { bytes: 0, frameEnds: [] };
  const after = how.after ?? Number.MAX_SAFE_INTEGER;
  const [one, other] = pair();
  const [atSource, atReplica] =
    how.cutSide === 'source' ? [cutAfter(one, after, sent), other] : [other, cutAfter(one, after, sent)];
  const ends = await Promise.allSettled(
    how.direction === 'pull'
      ? [pull(replica, atReplica), serve(source, atSource)]
      : [push(source, atSource), serve(replica, atReplica)],
  );
  return { ends, sent };
}

export interface CutReport {
  cuts: number;
  /** Ends of frames there were, and how many of them were cut at. */
  boundaries: number;
  boundariesCut: number;
}

/**
 * Cuts `runs` transfers: each second one at an end of a frame, all of them in turn, the others anywhere. Throws when a root is
 * there whose closure is not, when a transfer does not go on afterwards, or sends more than a little twice.
 */
export async function runCuts(
  { seed, runs }: { readonly seed: number; readonly runs: number },
  onCut?: (report: CutReport) => void,
): Promise<CutReport> {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-cuts-'));
  const options = { durability: 'relaxed', threads: { count: 0 }, parameters: smallParameters } as const;
  const random = seededRandom(seed);
  const source = await openStore(join(base, 'source'), options);
  const tree = new Map(Array.from({ length: 60 }, (_, i) => [`file ${i}`, seededBytes(i + 1, 200 + i * 40)]));
  tree.set('large', seededBytes(1001, 4 * mib + 12_345));
  tree.set('larger', seededBytes(1002, 3 * mib + 1));
  await setTree(source, 'main', tree);
  let opened = 0;
  /** Works on an empty store, which must be sound afterwards. */
  const withReplica = async (work: (replica: Store) => Promise<void>): Promise<void> => {
    const folder = join(base, `replica ${opened++}`);
    const replica = await openStore(folder, options);
    await work(replica);
    assert.deepEqual((await replica.scrub()).damaged, []);
    await replica.close();
    rmSync(folder, { recursive: true });
  };
  const ways = (['pull', 'push'] as const).flatMap((direction) =>
    (['source', 'replica'] as const).map((cutSide) => ({ direction, cutSide })),
  );
  const report = { cuts: 0, boundaries: 0, boundariesCut: 0 };
  for (const [w, way] of ways.entries()) {
    let whole: Sent | undefined;
    await withReplica(async (replica) => {
      const full = await cutTransfer(way, source, replica);
      assert.ok(full.ends.every(({ status }) => status === 'fulfilled'));
      whole = full.sent;
    });
    const { bytes: total, frameEnds } = whole!;
    const boundaries = [0, ...frameEnds.filter((at) => at < total)];
    report.boundaries += boundaries.length;
    const count = Math.floor(runs / ways.length) + (w < runs % ways.length ? 1 : 0);
    const first = random.below(boundaries.length);
    for (let i = 0; i < count; i++) {
      const turn = Math.floor(i / 2);
      // Prime steps: a few cuts are spread over all boundaries, many go through them all.
      const after = i % 2 === 0 ? boundaries[(first + turn * 31) % boundaries.length]! : random.below(total);
      if (i % 2 === 0 && turn < boundaries.length) report.boundariesCut++;
      await withReplica((replica) => cutOnce({ ...way, after }, { source, replica, total }));
      report.cuts++;
      onCut?.(report);
    }
  }
  await source.close();
  rmSync(base, { recursive: true });
  return report;
}

async function cutOnce(
  how: CutTransfer & { readonly after: number },
  { source, replica, total }: { readonly source: Store; readonly replica: Store; readonly total: number },
): Promise<void> {
  const where = `${how.direction}, ${how.cutSide} cut after ${how.after} of ${total}`;
  const cut = await cutTransfer(how, source, replica);
  const set = await replica.roots.get('main');
  // The last bytes only tell of what is done already.
  if (set !== undefined) await assertSame(source, replica, ['main']);
  else
    assert.ok(
      cut.ends.some(({ status }) => status === 'rejected'),
      where,
    );
  const rest = await cutTransfer({ direction: how.direction, cutSide: how.cutSide }, source, replica);
  assert.ok(
    rest.ends.every(({ status }) => status === 'fulfilled'),
    `${where}: ${JSON.stringify(rest.ends)}`,
  );
  await assertSame(source, replica, ['main']);
  const sent = how.after + rest.sent.bytes;
  if (how.cutSide === 'source') assert.ok(sent <= 1.05 * total + 1.1 * mib, `${where}: ${sent} bytes in all`);
}
