/** `npm start -- [folder] [--store DIR]`: shows the whole way of a folder into a store and back, and whether it came back the same. */
import { nodeTooOld } from './node-version.ts';

const tooOld = nodeTooOld(process.versions);
if (tooOld === undefined) {
  void import('./show.ts').then(async ({ show }) => {
    process.exitCode = await show(process.argv.slice(2));
  });
} else {
  console.error(tooOld);
  process.exitCode = 1;
}
