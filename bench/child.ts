/** The process of one errand: does it, and prints the measurement as the last line. */
import { type Errand, runErrand } from './errand.ts';

const measured = await runErrand(JSON.parse(process.argv[2]!) as Errand);
console.log(JSON.stringify({ measured }));
