#!/usr/bin/env node
/** The holdfast command: checks that this Node will do, then loads the program. */
import { nodeTooOld } from './node-version.ts';

const tooOld = nodeTooOld(process.versions);
if (tooOld === undefined) {
  // Until it says otherwise: where nothing is left to wait for, Node would end with 0 before the work is done.
  process.exitCode = 1;
  void import('./program.ts').then(async ({ runProgram }) => {
    process.exitCode = await runProgram(process.argv.slice(2));
  });
} else {
  console.error(tooOld);
  if (process.argv.includes('--json'))
    console.log(JSON.stringify({ error: { code: 'unsupported-runtime', message: tooOld } }));
  process.exitCode = 1;
}
