/** How much work a workload is: the full sizes of performance.md, and small ones that keep the benchmarks from rotting. */

export interface Scale {
  readonly name: 'tiny' | 'small' | 'full';
  /** Bytes of the one large file (W1, W5, W6). */
  readonly largeBytes: number;
  /** Bytes of the file of the memory case. */
  readonly hugeBytes: number;
  /** Small files of 1 to 16 KiB: folders, and files in each (W3, W4, W5, W6, W11). */
  readonly folders: number;
  readonly filesPerFolder: number;
  /** Objects of 1 KiB put from memory (W3m): a few, and many. */
  readonly objectsFew: number;
  readonly objectsMany: number;
  /** Objects of 512 bytes of which half is collected (W7). */
  readonly collected: number;
  /** Bytes of real programs and texts (W9). */
  readonly programBytes: number;
  /** Random reads (W5). */
  readonly reads: number;
  /** Milliseconds that a single operation is repeated for. */
  readonly repeatMs: number;
  /** Worker threads of a store; absent: as many as it takes by itself. */
  readonly threads?: { readonly count: number };
  /** Whether figures mean anything: only then are caches dropped and goals judged. */
  readonly judged: boolean;
}

const MiB = 1024 * 1024;

export const scales = {
  tiny: {
    name: 'tiny',
    largeBytes: 3 * MiB,
    hugeBytes: 5 * MiB,
    folders: 4,
    filesPerFolder: 20,
    objectsFew: 100,
    objectsMany: 300,
    collected: 200,
    programBytes: 2 * MiB,
    reads: 40,
    repeatMs: 5,
    // Starting threads would take most of the time.
    threads: { count: 0 },
    judged: false,
  },
  small: {
    name: 'small',
    largeBytes: 256 * MiB,
    hugeBytes: 512 * MiB,
    folders: 20,
    filesPerFolder: 500,
    objectsFew: 10_000,
    objectsMany: 30_000,
    collected: 100_000,
    programBytes: 64 * MiB,
    reads: 2_000,
    repeatMs: 300,
    judged: false,
  },
  full: {
    name: 'full',
    largeBytes: 2048 * MiB,
    hugeBytes: 4096 * MiB,
    folders: 100,
    filesPerFolder: 1000,
    objectsFew: 10_000,
    objectsMany: 100_000,
    collected: 1_000_000,
    programBytes: 450 * MiB,
    reads: 10_000,
    repeatMs: 2_000,
    judged: true,
  },
} as const satisfies Readonly<Record<string, Scale>>;

export type ScaleName = keyof typeof scales;
