/** The commit thread's work on the group of volumes, by name: extending it, emptying volumes, planning. */
import { fillBallast, removeIfThere } from '../commit/create.ts';
import { type ExtendRequest, extendGroup } from '../commit/extend.ts';
import { type LocateRequest, locateVolume } from '../commit/locate.ts';
import type { FileMove } from '../content/mover.ts';
import {
  type DrainContext,
  type DrainUnit,
  beginCompaction,
  beginDrain,
  cancelDrain,
  endDrain,
  forgetFile,
  moveRecords,
  pickFiles,
  settleFile,
} from '../maintenance/drain.ts';
import {
  type MirrorContext,
  type MirrorWish,
  beginMirror,
  endMirror,
  setMirror,
  stillDamaged,
} from '../maintenance/mirror.ts';
import { planGroup } from '../maintenance/rebalance.ts';
import { type ResyncRequest, countCopies, resyncStep, settleCopy } from '../maintenance/resync.ts';
import type { Handler } from '../rpc.ts';

/** `run` lets the work at the open store, and judges what it throws; `nameOf` says what a blob is called on disk that callers call by its id. */
export function groupHandlers(
  run: <Result>(work: (context: MirrorContext) => Result) => Result,
  nameOf: (id: string) => string,
): Readonly<Record<string, Handler>> {
  return {
    extend: (request: ExtendRequest) =>
      run(({ catalog, volumes }) =>
        catalog.transaction((transaction) => extendGroup(transaction, volumes, request)),
      ).id,
    locate: (request: LocateRequest) =>
      run(({ catalog, volumes }) =>
        catalog.transaction((transaction) => locateVolume(transaction, volumes, request)),
      ).id,
    'drain-begin': (request: Parameters<typeof beginDrain>[1]) =>
      run((context) => beginDrain(context, request)),
    'drain-cancel': (units: readonly DrainUnit[]) =>
      run((context) => withBallast(context, () => cancelDrain(context, units))),
    'drain-records': (request: Parameters<typeof moveRecords>[1]) =>
      run((context) => moveRecords(context, request)),
    'drain-pick': (request: Parameters<typeof pickFiles>[1]) => run((context) => pickFiles(context, request)),
    'drain-settle': (move: FileMove) => run((context) => settleFile(context, move)),
    'drain-forget': (intent: number) => run((context) => forgetFile(context, intent)),
    'drain-end': (unit: DrainUnit) => run((context) => endDrain(context, unit)),
    'compact-begin': () => run((context) => beginCompaction(context)),
    'mirror-set': (wish: MirrorWish) => run((context) => setMirror(context, wish)),
    'mirror-begin': (after: number) => run((context) => beginMirror(context, after)),
    'mirror-end': () => run((context) => endMirror(context)),
    'mirror-damaged': (ids: readonly string[]) =>
      run((context) => {
        const bad = new Set(stillDamaged(context, ids.map(nameOf)));
        return ids.filter((id) => bad.has(nameOf(id)));
      }),
    'resync-step': ({ only, ...request }: ResyncRequest) =>
      run((context) =>
        resyncStep(context, only === undefined ? request : { ...request, only: nameOf(only) }),
      ),
    'resync-count': (id: string) => run((context) => countCopies(context, nameOf(id))),
    'resync-settle': (move: FileMove) => run((context) => settleCopy(context, move)),
    'rebalance-plan': () => run(({ volumes }) => planGroup(volumes)),
  };
}

/** What is taken back is most often taken back because a disk is full: the space held back lets the commit in. */
function withBallast({ catalog, volumes }: DrainContext, work: () => void): void {
  const { layout, host } = volumes.options;
  removeIfThere(host.files, layout.ballast);
  catalog.checkpoints.truncate();
  try {
    work();
  } finally {
    fillBallast(host.files, layout);
  }
}
