/** Encryption (W12): the large file in and out of an encrypted store and of a plain one; random ranges, compressed and encrypted. */
import { readFile } from 'node:fs/promises';
import type { OpenOptions, Store } from '../../src/index.ts';
import { Noise, programFiles } from '../data.ts';
import { inFlight } from '../window.ts';
import type { Case, Workload } from '../workload.ts';
import { putLarge } from './ingest.ts';

const encrypted: OpenOptions = {
  encryption: { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(1) } },
};
const rangeBytes = 64 * 1024;
const readsInFlight = 256;

export const sealedIn: Workload = {
  name: 'W12-in',
  title: 'one large incompressible file by path, into an encrypted store',
  unit: 'MB/s',
  cache: 'warm',
  warms: ['large'],
  cases: [putLarge('holdfast, encrypted', true, encrypted), putLarge('holdfast, plain', false)],
  goals: [{ figure: 'ratio', atLeast: 0.7, source: 'issue 3' }],
};

function streamLarge(name: string, ours: boolean, options: OpenOptions = {}): Case {
  return {
    name,
    ours,
    async run({ open, data, target, meter }) {
      const store = await open(target, options);
      const { id } = await store.put({ path: data.large });
      await meter.time(async () => {
        let bytes = 0;
        for await (const piece of (await store.stream(id))!) bytes += piece.length;
        return { bytes, operations: 1 };
      });
      await store.close();
    },
  };
}

export const sealedOut: Workload = {
  name: 'W12-out',
  title: 'the large file streamed out of an encrypted store, warm',
  unit: 'MB/s',
  cache: 'warm',
  warms: ['large'],
  cases: [streamLarge('holdfast, encrypted', true, encrypted), streamLarge('holdfast, plain', false)],
  goals: [{ figure: 'ratio', atLeast: 0.7, source: 'issue 3' }],
};

/** What W9 compresses, as one blob. */
async function* programs(bytesMax: number): AsyncGenerator<Uint8Array> {
  for (const path of programFiles(bytesMax)) yield await readFile(path);
}

function rangesOf(name: string, ours: boolean, options: OpenOptions = {}): Case {
  return {
    name,
    ours,
    async run({ open, target, scale, meter }) {
      const store = await open(target, options);
      const { id, size } = await store.put(programs(scale.programBytes));
      const noise = new Noise(18);
      const offsets = Array.from({ length: scale.reads }, () => noise.below(size - rangeBytes));
      await meter.time(async () => ({
        bytes: await readAll(store, id, offsets),
        operations: offsets.length,
      }));
      await store.close();
    },
  };
}

async function readAll(store: Store, id: string, offsets: readonly number[]): Promise<number> {
  let bytes = 0;
  await inFlight(offsets.length, readsInFlight, async (i) => {
    const { length } = (await store.readRange(id, offsets[i]!, rangeBytes))!;
    bytes += length;
  });
  return bytes;
}

export const sealedRanges: Workload = {
  name: 'W12-ranges',
  title: 'random ranges of 64 KiB of programs and texts, compressed and encrypted, warm',
  unit: 'ops/s',
  cache: 'any',
  cases: [
    rangesOf('holdfast, both', true, { ...encrypted, compression: 'always' }),
    rangesOf('holdfast, plain', false),
    rangesOf('holdfast, encrypted', false, encrypted),
    rangesOf('holdfast, compressed', false, { compression: 'always' }),
  ],
  goals: [{ figure: 'ratio', atLeast: 0.5, source: 'issue 3' }],
};
