/** `--cap-owner`, `--cap-bytes`, `--cap-blobs`: the cap of a cache, for verbs that collect. */
import type { Command } from 'commander';
import type { Cap, Evicted } from '../index.ts';
import { UsageError } from './exit.ts';
import { parseBytes, showBytes, showCount } from './units.ts';

export function withCapOptions(command: Command): Command {
  return command
    .option('--cap-owner <name>', 'release what this owner used least recently, while it is above a cap')
    .option('--cap-bytes <size>', 'the cap: what it alone holds may take so much')
    .option('--cap-blobs <count>', 'the cap: what it alone holds may be so many blobs');
}

export function parseCap(options: Readonly<Record<string, unknown>>): { readonly cap?: Cap } {
  const { capOwner: owner, capBytes, capBlobs } = options;
  if (owner === undefined && capBytes === undefined && capBlobs === undefined) return {};
  if (typeof owner !== 'string') throw new UsageError('a cap is of an owner: --cap-owner');
  if (capBytes === undefined && capBlobs === undefined)
    throw new UsageError('--cap-owner goes with --cap-bytes or --cap-blobs');
  if (capBlobs !== undefined && !/^\d{1,15}$/.test(String(capBlobs)))
    throw new UsageError(`not a number of blobs: ${JSON.stringify(capBlobs)}`);
  return {
    cap: {
      owner,
      ...(capBytes === undefined ? {} : { bytes: parseBytes(String(capBytes)) }),
      ...(capBlobs === undefined ? {} : { blobs: Number(capBlobs) }),
    },
  };
}

export function showEvicted({ blobs, bytes, left }: Evicted): string {
  return `released ${showCount(blobs, 'blob')}, ${showBytes(bytes)}; ${showCount(left.blobs, 'blob')}, ${showBytes(left.bytes)} left`;
}
