/** A scrub from the calling thread: ranges spread over the workers, what they find settled by the commit thread, then counts. */
import PQueue from 'p-queue';
import type { Damage, ScrubOptions, ScrubResult } from './api.ts';
import { noVolume } from './catalog/blob-rows.ts';
import type { VerifyRange, VerifyResult } from './content/verify.ts';
import type { Crew } from './crew.ts';
import type { Host } from './host.ts';
import type { RecountResult, SettleResult } from './maintenance/settle-scrub.ts';

/** Chunked blobs lie in no volume; in the catalog they are spread over 256 numbers, as files are over folders. */
const chunkedRanges: readonly VerifyRange[] = Array.from({ length: 16 }, (_, i) => ({
  volume: noVolume,
  fromExtent: 16 * i,
  toExtent: 16 * i + 15,
}));

interface Parts {
  readonly host: Host;
  readonly crew: Crew;
}

/**
 * Verifies every stored copy against its chunk checksums and its id, volumes against the catalog both ways, and counts against
 * references. Puts, reads and collection go on meanwhile.
 */
export async function scrubStore(
  { host, crew }: Parts,
  options: ScrubOptions,
  onDamage: (damage: Damage) => void,
): Promise<ScrubResult> {
  const start = host.clock.monotonic();
  const totals = await crew.work<{ blobs: number; bytes: number }>('query', { name: 'stats', args: ['', 0] });
  const done = { blobs: 0, bytes: 0 };
  const result = { blobs: 0, bytes: 0, adopted: 0, recounted: 0, badRows: 0 };
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
      onDamage({ id, reason, references });
    }
  };
  const queue = new PQueue({ concurrency: crew.workers });
  const ranges = await crew.commit<VerifyRange[]>('scrub-ranges', undefined);
  const verifyAll = (list: readonly VerifyRange[]): Promise<unknown> =>
    Promise.all(list.map((range) => queue.add(() => aborting(options.signal, () => verify(range)))));
  await verifyAll(ranges);
  // When it is known which chunks are damaged.
  await verifyAll(chunkedRanges);
  let sound = true;
  for (let bucket: number | undefined = 0; bucket !== undefined;) {
    const counted: RecountResult = await crew.commit<RecountResult>('scrub-recount', bucket);
    result.recounted += counted.recounted;
    result.badRows += counted.badRows;
    sound &&= counted.badRows === 0;
    bucket = counted.next;
  }
  if (sound) await crew.commit('scrub-clear', undefined);
  return { ...result, damaged, milliseconds: Math.round(host.clock.monotonic() - start) };
}

async function aborting<Result>(
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  signal?.throwIfAborted();
  return await work();
}
