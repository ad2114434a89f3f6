/** Salvage: from a SQLite volume file in any state comes every record whose bytes are there, and never a wrong byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findRecords } from '../../engine/codec/find-records.ts';
import { readExtent } from '../../engine/codec/record.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { seededRandom } from '../crash/random.ts';
import { type KnownVolume, damage, intact, makeVolume, salvaged } from './damaged-volume.ts';

const runs = Number(process.env['HOLDFAST_SALVAGE_RUNS'] ?? 200);
const volumes: readonly KnownVolume[] = [
  makeVolume(1, { commits: 6, extentBytes: 16_384 }),
  makeVolume(2, { commits: 8, extentBytes: 65_536 }),
  makeVolume(3, { commits: 40, extentBytes: 4096 }),
  makeVolume(4, { commits: 5, extentBytes: 1024 * 1024 }),
];

test('of a sound file, salvage gives every record', () => {
  for (const known of volumes) {
    assert.ok(known.records.length > 20);
    assert.deepEqual([...salvaged(known.file, known)].sort(), known.records.map(({ key }) => key).sort());
  }
});

test(`${runs} random damages: every record whose bytes are intact is salvaged`, (t) => {
  let wanted = 0;
  let got = 0;
  const missed: string[] = [];
  for (let run = 0; run < runs; run++) {
    const random = seededRandom(run, 5);
    const known = volumes[run % volumes.length]!;
    const { what, file } = damage(random, known.file);
    const found = salvaged(file, known);
    const should = new Set(intact(file, known));
    wanted += should.size;
    got += found.size;
    for (const key of should) if (!found.has(key)) missed.push(`run ${run} (${what}): ${key.slice(0, 8)}`);
  }
  t.diagnostic(`${wanted} intact records, ${got} salvaged`);
  assert.deepEqual(missed, []);
  assert.ok(wanted > 10 * runs, 'the damages leave something to salvage');
});
