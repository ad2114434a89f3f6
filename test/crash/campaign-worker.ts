// A share of a campaign of faults on a thread of its own, so that several cores can work at one.
import { parentPort, workerData } from 'node:worker_threads';
import { type IoErrorsOptions, runIoErrors } from './io-errors.ts';
import { type KeptFlipsOptions, runKeptFlips } from './kept-flips.ts';

/** What a thread is started with. */
export type Share =
  | { readonly campaign: 'io-errors'; readonly options: IoErrorsOptions }
  | { readonly campaign: 'bit-flips'; readonly options: KeptFlipsOptions };

const share = workerData as Share;
/** Where a run takes a millisecond, a message for each would take as long. */
const tellEvery = share.campaign === 'bit-flips' ? 4096 : 1;
const onRun = (report: { readonly runs: number }): void => {
  if (report.runs % tellEvery === 0) parentPort!.postMessage(report);
};
if (share.campaign === 'io-errors') parentPort!.postMessage(await runIoErrors({ ...share.options, onRun }));
else parentPort!.postMessage(await runKeptFlips({ ...share.options, onRun }));
