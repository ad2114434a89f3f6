/** Transfers while both stores are written to, roots move, and everything unreferenced is collected with no grace: nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { race } from './racing.ts';
import { sample } from '../crash/sample.ts';

const first = Number(process.env['HOLDFAST_SEED'] ?? 1);
/** The full number runs as `npm run soak -- sync-races`. */
const seeds = Number(process.env['HOLDFAST_RUNS'] ?? sample(8, 4));

test(
  `two writers, collection on both sides, and transfers between them lose nothing (${seeds} seeds)`,
  { timeout: 240_000 },
  async (t) => {
    let refused = 0;
    let transfers = 0;
    for (let seed = first; seed < first + seeds; seed++) {
      t.diagnostic(`seed ${seed}`);
      const report = await race(seed);
      refused += report.refused;
      transfers += report.transfers;
    }
    assert.ok(refused < transfers, 'some transfers come through');
  },
);
