/** Preloaded into a process that is measured from outside: as it ends, it writes down its peak memory. */
import { writeFileSync } from 'node:fs';
import { peakBytes } from './meter.ts';

const file = process.env['HOLDFAST_BENCH_PEAK'];
if (file !== undefined) process.on('exit', () => writeFileSync(file, String(peakBytes())));
