/** The list of all workloads, and how names on the command line pick from it. */
import { insertion } from './workloads/chunk.ts';
import { media, programs } from './workloads/compress.ts';
import { largeFile, objectsFew, objectsMany, smallFilesIn } from './workloads/ingest.ts';
import { memory } from './workloads/memory.ts';
import { objectsWarm, rangesCold, rangesWarm } from './workloads/read.ts';
import { rehash, unchanged } from './workloads/reimport.ts';
import { codec, singles } from './workloads/single.ts';
import { replicateChanged, replicateLarge, replicateSmall } from './workloads/replicate.ts';
import { sealedIn, sealedOut, sealedRanges } from './workloads/seal.ts';
import { dropHalf, openFull, scrubAll, scrubBeside, scrubPaced } from './workloads/upkeep.ts';
import type { Workload } from './workload.ts';

export const workloads: readonly Workload[] = [
  largeFile,
  smallFilesIn,
  objectsFew,
  objectsMany,
  unchanged,
  rehash,
  rangesWarm,
  rangesCold,
  objectsWarm,
  scrubAll,
  scrubBeside,
  scrubPaced,
  dropHalf,
  openFull,
  memory,
  programs,
  media,
  insertion,
  sealedIn,
  sealedOut,
  sealedRanges,
  replicateSmall,
  replicateLarge,
  replicateChanged,
  ...singles,
  codec,
];

/** `W5` is every workload of that name and those that begin with `W5-`; no name is all of them. */
export function pickWorkloads(names: readonly string[]): Workload[] {
  const unknown = names.find((name) => !workloads.some((workload) => isCalled(workload, name)));
  if (unknown !== undefined)
    throw new Error(
      `no workload is called ${unknown}: there are ${workloads.map(({ name }) => name).join(', ')}`,
    );
  return workloads.filter((workload) => names.length === 0 || names.some((name) => isCalled(workload, name)));
}

function isCalled({ name }: Workload, wanted: string): boolean {
  const [lower, asked] = [name.toLowerCase(), wanted.toLowerCase()];
  return lower === asked || lower.startsWith(`${asked}-`);
}
