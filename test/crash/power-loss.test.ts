// A sample of the power-loss campaign on the real engine; `npm run soak -- power-loss` runs the full number.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runPowerLoss } from './power-loss.ts';
import { buildRecorder } from './recorded-run.ts';
import { full, sample } from './sample.ts';
import { engineMissing } from './subject.ts';

const recorder = buildRecorder();
const why = 'missing' in recorder ? `no recorder: ${recorder.missing}` : engineMissing();
const skip = why === undefined ? false : `NOT RUN, ${why}`;
const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);

test(
  'no acknowledged call is lost in any sampled power loss, nor in one during recovery',
  { skip },
  async (t) => {
    let states = 0;
    for (const s of full ? [seed, seed + 1] : [seed]) {
      const report = await runPowerLoss({
        seed: s,
        states: 14,
        recoveries: 1,
        recoveryCuts: 3,
        rounds: [50, 30],
      });
      t.diagnostic(
        `seed ${s}: ${report.states} crash states of ${report.calls} calls, ${report.acknowledged} acknowledged, ${report.stateMs.toFixed(1)} ms a state`,
      );
      assert.deepEqual(report.losses, [], `losses with seed ${s}; HOLDFAST_SEED=${s} repeats it`);
      states += report.states;
    }
    assert.ok(states >= sample(28, 14));
  },
);
