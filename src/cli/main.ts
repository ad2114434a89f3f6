#!/usr/bin/env node
/** The holdfast command: checks that this Node will do, then loads the program. */
import { setFlagsFromString } from 'node:v8';
import { growsBySemiSpaceFactor, nodeTooOld } from './node-version.ts';

const tooOld = nodeTooOld(process.versions);
if (tooOld === undefined) {
  // Until it says otherwise: where nothing is left to wait for, Node would end with 0 before the work is done.
  process.exitCode = 1;
  // V8 lets the young generation grow to 64 MB and more in a transfer of small files: most of what that takes. A bound it takes on its
  // command line alone, but the factor by which it grows also here: it grows once, while the program is loaded, to 16 MB. With 4 MB
  // the collector would take three times as long, with 64 MB hardly less.
  const isKnown = growsBySemiSpaceFactor(process.versions);
  if (isKnown) setFlagsFromString('--semi-space-growth-factor=8');
  void import('./program.ts').then(async ({ runProgram }) => {
    if (isKnown) setFlagsFromString('--semi-space-growth-factor=1');
    // Work that waits for what nobody does any more ends the process: never without a word.
    const stuck = (): void =>
      console.error('holdfast bug: the work stopped before its end; please report it');
    process.once('beforeExit', stuck);
    process.exitCode = await runProgram(process.argv.slice(2));
    process.off('beforeExit', stuck);
  });
} else {
  console.error(tooOld);
  if (process.argv.includes('--json'))
    console.log(JSON.stringify({ error: { code: 'unsupported-runtime', message: tooOld } }));
  process.exitCode = 1;
}
