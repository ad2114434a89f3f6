/** Connections that are cut anywhere: never a partial root, and the next transfer goes on where it was. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type PutResult, type Store, openStore } from '../../engine/index.ts';
import { StoreSink } from '../../sync/peers/store-sink.ts';
import { seededBytes } from '../crash/random.ts';
import { sample } from '../crash/sample.ts';
import { cutTransfer, runCuts } from './cutting.ts';
import { assertSame, setTree } from './stores.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);
/** The full number runs as `npm run soak -- cuts`. */
const runs = Number(process.env['HOLDFAST_CUTS'] ?? sample(8, 3));
const mib = 1024 * 1024;

test(
  'a transfer that is cut at any place leaves no root, resumes, and sends little twice',
  { timeout: 120_000 },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    const { cuts, boundaries } = await runCuts({ seed, runs });
    assert.equal(cuts, runs);
    assert.ok(boundaries > 100, `${boundaries} ends of frames`);
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
      const cut = await cutTransfer(
        { direction: 'pull', cutSide: 'source', after: 3 * mib + i * 2000 },
        source,
        replica,
      );
      sent += cut.sent.bytes;
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

test('who waits with the pieces of a blob is let go when its put fails before it asks for any', async () => {
  const failed = new Error('no room');
  const put = (): Promise<PutResult> => Promise.reject(failed);
  const sink = new StoreSink({ encoded: { put }, sideTable: () => ({}) } as unknown as Store);
  const id = '0'.repeat(64);
  const piece = { id, size: 100, from: 0, codec: 0, length: 10, bytes: new Uint8Array(10) };
  await Promise.all([sink.write({ ...piece, offset: 0 }), sink.write({ ...piece, offset: 10 })]);
  await assert.rejects(sink.written(id), failed);
});
