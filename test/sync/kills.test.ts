/** Replication between processes that are killed: what was stored stays, and the next transfer brings the rest. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSyncKills } from './killing.ts';

const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);
/** The full number runs as `npm run soak -- sync-kill`. */
const runs = Number(process.env['HOLDFAST_KILLS'] ?? 2);

test(
  'either end killed with SIGKILL: no root in part, and what is sent again is what was missing',
  { timeout: 120_000, skip: process.platform === 'win32' ? 'NOT RUN, there is no SIGKILL' : false },
  async (t) => {
    t.diagnostic(`seed ${seed}`);
    const { kills } = await runSyncKills({ seed, runs });
    assert.equal(kills, runs);
  },
);
