/** The list of all that is fuzzed, and of the canaries. */
import { canaries } from './canaries.ts';
import { type Job, byteJob } from './job.ts';
import { storeCanaryJobs, storeJobs } from './store/job.ts';
import { address } from './targets/address.ts';
import { chunkRun } from './targets/chunk-run.ts';
import { extent, frame, listing, manifest, node, record, rootLog, superblock } from './targets/codec.ts';
import {
  keyring,
  linkLocators,
  sealedHead,
  sealedObject,
  sealedTrailer,
  slotFile,
} from './targets/sealed.ts';
import { salvage } from './targets/salvage.ts';
import { cbor, entry, mapNode, mapPayload } from './targets/tree.ts';

const targets = [
  node,
  record,
  extent,
  frame,
  chunkRun,
  manifest,
  rootLog,
  superblock,
  listing,
  salvage,
  sealedHead,
  sealedTrailer,
  sealedObject,
  linkLocators,
  slotFile,
  keyring,
  mapNode,
  mapPayload,
  entry,
  cbor,
  address,
];

export const jobs: readonly Job[] = [...targets.map(byteJob), ...storeJobs];
export const canaryJobs: readonly Job[] = [...canaries.map(byteJob), ...storeCanaryJobs];

export function findJob(name: string): Job {
  const found = [...jobs, ...canaryJobs].find((job) => job.name === name);
  if (found === undefined)
    throw new Error(
      `nothing is called ${name}: there are ${[...jobs, ...canaryJobs].map(({ name }) => name).join(', ')}`,
    );
  return found;
}
