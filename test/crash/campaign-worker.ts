// A share of a campaign of faults on a thread of its own, so that several cores can work at one.
import { parentPort, workerData } from 'node:worker_threads';
import { type FlipsOptions, runFlips } from './bit-flips.ts';
import { type IoErrorsOptions, runIoErrors } from './io-errors.ts';

/** What a thread is started with. */
export type Share =
  | { readonly campaign: 'io-errors'; readonly options: IoErrorsOptions }
  | { readonly campaign: 'bit-flips'; readonly options: FlipsOptions };

const share = workerData as Share;
const onRun = (report: unknown): void => parentPort!.postMessage(report);
if (share.campaign === 'io-errors') onRun(await runIoErrors({ ...share.options, onRun }));
else onRun(await runFlips({ ...share.options, onRun }));
