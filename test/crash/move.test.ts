// A sample of the campaign of moves; `npm run soak -- move` runs the full number.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runMoves } from './move.ts';

const skip = process.platform === 'win32' ? 'NOT RUN, Windows has no SIGKILL that spares nothing' : false;
const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);

for (const copies of [1, 2])
  test(
    `processes that reduce and move volumes of ${copies} copies die, and nothing is lost`,
    { skip },
    async (t) => {
      const report = await runMoves({ seed, kills: 2, copies });
      t.diagnostic(
        `seed ${seed}: ${report.kills} kills, ${report.interrupted} in the middle, ${report.seconds.toFixed(1)} s`,
      );
      assert.deepEqual(report.losses, [], `losses with seed ${seed}; the folders are kept`);
      assert.ok(report.interrupted > 0, 'no kill came in the middle of a move');
    },
  );
