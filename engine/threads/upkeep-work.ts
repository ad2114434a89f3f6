/** The commit thread's part of upkeep, by name: records of scrubs, their counts, the schedule, the write-ahead log. */
import type { Catalog } from '../catalog/catalog.ts';
import type { Provider } from '../codec/provider.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import {
  type RunRequest,
  type SchedulingContext,
  beginRun,
  reckonFrom,
  setSchedule,
  settleRun,
  takeSchedule,
} from '../maintenance/scheduling.ts';
import { type ScrubEnd, beginScrub, endScrub } from '../maintenance/scrub-log.ts';
import { recountBucket } from '../maintenance/recount.ts';
import { settleLog } from '../maintenance/mend-log.ts';
import { clearDoubt, scrubRanges } from '../maintenance/settle-scrub.ts';
import type { Handler } from '../rpc.ts';

export interface UpkeepContext extends SchedulingContext {
  readonly catalog: Catalog;
  readonly volumes: VolumeSet;
  readonly provider: Provider;
}

/** `run` lets the work at the open store, and judges what it throws. */
export function upkeepHandlers(
  run: <Result>(work: (context: UpkeepContext) => Result) => Result,
): Readonly<Record<string, Handler>> {
  return {
    'scrub-begin': () => run(({ catalog }) => beginScrub(catalog)),
    'scrub-end': (end: ScrubEnd) => run(({ catalog }) => endScrub(catalog, end)),
    'scrub-ranges': () => run(({ volumes }) => scrubRanges(volumes)),
    'scrub-recount': (bucket: number) => run(({ catalog }) => recountBucket(catalog, bucket)),
    'scrub-log': (sound: boolean) => run((context) => settleLog(context, sound)),
    'scrub-clear': () => run(({ catalog, volumes }) => clearDoubt(catalog, volumes)),
    'schedule-set': (request: Parameters<typeof setSchedule>[1]) =>
      run((context) => setSchedule(context, request)),
    'schedule-take': () => run((context) => takeSchedule(context)),
    'schedule-reckon': (nowMs: number) => run((context) => reckonFrom(context, nowMs)),
    'schedule-begin': (request: RunRequest) => run((context) => beginRun(context, request)),
    'schedule-settle': (request: Parameters<typeof settleRun>[1]) =>
      run((context) => settleRun(context, request)),
    checkpoint: () => run(({ catalog }) => catalog.checkpoints.truncate()),
  };
}
