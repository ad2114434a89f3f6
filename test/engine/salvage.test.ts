/** Salvage: from a SQLite volume file in any state comes every record whose bytes are there, and never a wrong byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findRecords } from '../../engine/codec/find-records.ts';
import { readExtent } from '../../engine/codec/record.ts';
import { salvageRecords } from '../../engine/codec/salvage.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { seededRandom } from '../crash/random.ts';
import { sample } from '../crash/sample.ts';
import { type KnownVolume, damage, intact, makeVolume, salvaged } from './damaged-volume.ts';

const runs = Number(process.env['HOLDFAST_SALVAGE_RUNS'] ?? sample(80, 16));
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

test('in sound bytes records are found as an extent is read; behind damage the next is found', () => {
  const { records } = volumes[0]!;
  const some = records.slice(0, 12).map(({ bytes }) => bytes);
  const extent = new Uint8Array(Buffer.concat(some));
  assert.deepEqual(
    [...findRecords(provider, extent)].map(({ at }) => at),
    [...readExtent(provider, extent)].map(({ at }) => at),
  );
  for (let i = 0; i < some.length; i++) {
    const at = some.slice(0, i).reduce((sum, { length }) => sum + length, 0);
    const broken = extent.slice();
    broken[at + 70]! ^= 1; // its length
    const found = [...findRecords(provider, broken)];
    assert.equal(found.filter((one) => 'record' in one).length, some.length - 1);
    const damage = found.find((one) => 'damage' in one)!;
    assert.deepEqual([damage.at, 'length' in damage && damage.length], [at, some[i]!.length]);
  }
});

test('files that lie about lengths, chains and heads end soon', () => {
  // Every four bytes a head that claims a long table.
  const heads = new Uint8Array(4 * 1024 * 1024);
  const view = new DataView(heads.buffer);
  for (let at = 0; at < heads.length; at += 4) view.setUint32(at, 0x01_72_46_48, true);
  const start = performance.now();
  assert.equal([...findRecords(provider, heads)].length, 1);
  // Leaves full of cells that claim the largest row, over pages that lead in a circle.
  const pages = 40;
  const file = new Uint8Array(pages * 16_384);
  const words = new DataView(file.buffer);
  for (let page = 1; page < pages; page++) {
    const base = page * 16_384;
    if (page > 20) {
      words.setUint32(base, page === pages - 1 ? 22 : page + 2);
      continue;
    }
    file[base] = 0x0d;
    words.setUint16(base + 3, 300);
    for (let cell = 0; cell < 300; cell++) {
      const at = 16_384 - 50 * (cell + 1);
      words.setUint16(base + 8 + 2 * cell, at);
      // Length 2^41, rowid 1, a row of a NULL and a blob.
      file.set(
        [0xc0, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 7, 0, 0x81, 0x80, 0x80, 0x80, 0x0c, 0x48, 0x46, 0x72, 1],
        base + at,
      );
    }
  }
  const read = (position: number, length: number): Uint8Array => file.subarray(position, position + length);
  assert.equal([...salvageRecords(provider, read, file.length)].length, 0);
  assert.ok(performance.now() - start < 60_000);
});
