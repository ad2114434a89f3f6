/** A scrub from the calling thread: ranges spread over the workers, what they find settled by the commit thread, then counts. */
import PQueue from 'p-queue';
import type { Damage, ScrubOptions, ScrubResult, StoreEvents } from './api.ts';
import { noVolume } from './catalog/blob-rows.ts';
import type { VerifyRange, VerifyResult } from './content/verify.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';
import type { RecountResult, SettleResult } from './maintenance/settle-scrub.ts';
import { missingOf, resyncAll } from './resync.ts';

/** Chunked blobs lie in no volume; in the catalog they are spread over 256 numbers, as files are over folders. */
const chunkedRanges: readonly VerifyRange[] = Array.from({ length: 16 }, (_, i) => ({
  volume: noVolume,
  fromExtent: 16 * i,
  toExtent: 16 * i + 15,
}));

export interface ScrubParts {
  readonly host: Host;
  readonly crew: Crew;
  readonly emit: <Name extends keyof StoreEvents>(name: Name, event: StoreEvents[Name]) => void;
}

/**
 * Verifies every stored copy against its chunk checksums and its id, volumes against the catalog both ways, and counts against
 * references. In a mirrored group, what is damaged or lacks is then made anew from good copies. Puts, reads and collection go on
 * meanwhile.
 */
export async function scrubStore(parts: ScrubParts, options: ScrubOptions): Promise<ScrubResult> {
  const { host, crew, emit } = parts;
  const start = host.clock.monotonic();
  const { damaged, ...result } = await verifyStore(parts, options);
  const counts = { recounted: 0, badRows: result.badRows };
  let sound = true;
  for (let bucket: number | undefined = 0; bucket !== undefined;) {
    const counted: RecountResult = await crew.commit<RecountResult>('scrub-recount', bucket);
    counts.recounted += counted.recounted;
    counts.badRows += counted.badRows;
    sound &&= counted.badRows === 0;
    bucket = counted.next;
  }
  if (sound) await crew.commit('scrub-clear', undefined);
  const mended = await heal({ crew, emit }, damaged, options.signal);
  return { ...result, ...counts, ...mended, milliseconds: Math.round(host.clock.monotonic() - start) };
}

/** The part of a scrub that reads: damage is marked and told, orphans are taken in. */
export async function verifyStore(
  { crew, emit }: ScrubParts,
  options: ScrubOptions,
): Promise<Pick<ScrubResult, 'blobs' | 'bytes' | 'adopted' | 'badRows' | 'damaged'>> {
  const totals = await crew.work<{ blobs: number; bytes: number }>('query', { name: 'work', args: [] });
  const done = { blobs: 0, bytes: 0 };
  const result = { blobs: 0, bytes: 0, adopted: 0, badRows: 0 };
  const damaged: Damage[] = [];
  const note = (value: unknown): void => {
    const more = value as { blobs: number; bytes: number };
    done.blobs += more.blobs;
    done.bytes += more.bytes;
    options.onProgress?.({ ...done, totalBlobs: totals.blobs, totalBytes: totals.bytes });
  };
  const verify = async (range: VerifyRange): Promise<void> => {
    const found = await crew.work<VerifyResult>('verify', range, {
      signal: options.signal,
      onProgress: note,
    });
    result.blobs += found.blobs;
    result.bytes += found.bytes;
    const settled = await crew.commit<SettleResult>('scrub-settle', { range, ...found });
    result.adopted += settled.adopted;
    result.badRows += settled.repairedRows;
    for (const { told: id, reason, references } of settled.damaged) {
      damaged.push({ id, reason, references });
      emit('damage', { id, reason, references });
    }
  };
  const queue = new PQueue({ concurrency: crew.workers });
  const ranges = await crew.commit<VerifyRange[]>('scrub-ranges', undefined);
  const verifyAll = (list: readonly VerifyRange[]): Promise<unknown> =>
    Promise.all(list.map((range) => queue.add(() => aborting(options.signal, () => verify(range)))));
  await verifyAll(ranges);
  // When it is known which chunks are damaged.
  await verifyAll(chunkedRanges);
  return { ...result, damaged };
}

/** `unavailable` when nothing can be said of some blobs, because all their copies are away. */
async function heal(
  { crew, emit }: Pick<ScrubParts, 'crew' | 'emit'>,
  found: readonly Damage[],
  signal: AbortSignal | undefined,
): Promise<Pick<ScrubResult, 'damaged' | 'healed' | 'missingCopies'>> {
  const done = await resyncAll(crew, { ...(signal === undefined ? {} : { signal }) });
  if (done === undefined) return { damaged: found, healed: 0, missingCopies: 0 };
  if (done.unreachable > 0)
    throw new StoreError('unavailable', `all copies of ${done.unreachable} blob(s) are away`);
  const left = new Set(
    await crew.commit<string[]>('mirror-damaged', [...new Set(found.map(({ id }) => id))]),
  );
  const healed = found.filter(({ id }) => !left.has(id));
  for (const id of new Set(healed.map((damage) => damage.id))) emit('healed', { id });
  return {
    // Once for each blob, also where all of its copies are bad.
    damaged: found.filter(({ id }) => left.delete(id)),
    healed: done.blobs,
    missingCopies: missingOf(done),
  };
}

async function aborting<Result>(
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  return await work();
}
