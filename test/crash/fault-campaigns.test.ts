// Samples of the campaigns of I/O errors and of bit flips, and what they are judged by can say no.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore } from '../../engine/index.ts';
import { noise, sha256 } from '../engine/store-folder.ts';
import { runFlips } from './bit-flips.ts';
import { runDamage } from './damage.ts';
import { judge, runIoErrors } from './io-errors.ts';
import { runKeptFlips } from './kept-flips.ts';
import { scenarios } from './io-scenarios.ts';

test('I/O errors, a sample: what was acknowledged is there, and errors are typed', async (t) => {
  assert.ok(Object.keys(scenarios).length >= 30);
  const { runs, cases, losses } = await runIoErrors({ runs: 8, seed: 3, only: 'put, large' });
  assert.deepEqual(losses, []);
  assert.equal(runs, 8);
  t.diagnostic(`${runs} of ${cases} cases`);
});

test('bit flips, a sample: refused, seen or harmless', async (t) => {
  const { runs, bits, bytes, refused, seen, harmless, losses } = await runFlips({ runs: 8, only: 'plain' });
  assert.deepEqual(losses, []);
  assert.equal(refused + seen + harmless, runs);
  assert.ok(bytes >= 65_536);
  t.diagnostic(`${runs} of ${bits} bits: ${refused} refused, ${seen} seen, ${harmless} harmless`);
});

test('bit flips under an open store, a sample: the right bytes or an error of ours', async (t) => {
  const sampled = { runs: 0, refused: 0 };
  for (const [only, from] of [
    ['compressed', 1000],
    // In the middle of the record.
    ['record', 600_000],
    ['copy', 8],
  ] as const) {
    const { runs, refused, losses } = await runKeptFlips({ from, runs: 96, only });
    assert.deepEqual(losses, []);
    assert.equal(refused > 0, only !== 'copy');
    sampled.runs += runs;
    sampled.refused += refused;
  }
  assert.equal(sampled.runs, 288);
  t.diagnostic(`${sampled.refused} of ${sampled.runs} refused`);
});

for (const from of ['store', 'mirror'] as const)
  test(`damage by the dozen, healed from a ${from}: each is found, no other, and all is the same again`, async () => {
    const { harmed, found, missed, remaining, wrong, ...report } = await runDamage({
      seed: 5,
      blobs: 36,
      from,
    });
    assert.deepEqual([harmed, found, report.false, missed, remaining, wrong], [36, 36, 0, 0, 0, 0]);
  });

test('a lost blob, a lost root and a plain error are losses', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-judged-'));
  try {
    const path = join(folder, 'store');
    await (await openStore(path, { threads: { count: 0 } })).close();
    const held = noise(100);
    const nothing = { held: new Map(), roots: new Map(), errors: [] };
    await judge(path, nothing, {});
    await assert.rejects(judge(path, { ...nothing, held: new Map([[sha256(held), held]]) }, {}), /not here/);
    await assert.rejects(
      judge(path, { ...nothing, roots: new Map([['main', new Set([sha256(held)])]]) }, {}),
      /root main is another/,
    );
    await assert.rejects(judge(path, { ...nothing, errors: [new TypeError('plain')] }, {}), /plain error/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
