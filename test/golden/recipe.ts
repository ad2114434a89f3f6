/** What the golden stores hold, and how they were made: for the program that makes them, and the test that opens them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OpenOptions, Secret } from '../../engine/index.ts';
import { noise, text } from '../engine/store-folder.ts';

export const goldenFolder: string = join(import.meta.dirname, 'stores');
/** Git keeps no empty folders. The ballast, which is larger than all the rest, is made again by whoever opens a store. */
export const emptyFolders = ['blobs', 'volumes', 'tmp', 'leases', 'quarantine'] as const;

/** The encrypted store was made with the first; the second was added to it. Both open it. */
export const secrets: readonly Secret[] = [
  { kind: 'raw-key', key: new Uint8Array(32).fill(0x2a) },
  { kind: 'key-file', content: text('the content of a key file, which nobody can guess') },
];

const parameters = { smallMax: 8192, extentBytes: 8192, chunkBytes: 4096, volumeBytesMax: 1024 * 1024 };
const cuts = { least: 4096, average: 8192, greatest: 16_384 };

export const shapes: Readonly<Record<string, OpenOptions>> = {
  plain: {},
  // A codec that every runtime has.
  compressed: { compression: { mode: 'auto', codec: 'deflate' } },
  encrypted: { encryption: { secret: secrets[0]!, padding: 'padme' }, compression: { mode: 'auto', codec: 'deflate' } },
  chunked: { chunking: { mode: 'fastcdc', ...cuts } },
  'sqlite-only': { layout: 'sqlite-only', chunking: { mode: 'off', ...cuts } },
};

export function optionsOf(shape: string): OpenOptions {
  return { threads: { count: 0 }, parameters, ...shapes[shape] };
}

/** Contents of raw blobs, by a name for people. */
export const contents: Readonly<Record<string, Uint8Array>> = {
  empty: new Uint8Array(0),
  hello: text('hello'),
  'one chunk': noise(4096, 1),
  'one chunk and a byte': noise(4097, 2),
  words: text('these words are said again and again. '.repeat(100)),
  'a file': noise(20_000, 3),
  'a file of words': text('these words are said again and again. '.repeat(700)),
  'nobody holds it': noise(700, 4),
};

/** What a golden store is to be, as it was when it was made. */
export interface Manifest {
  readonly format: number;
  readonly blobs: readonly {
    readonly id: string;
    readonly kind: 'raw' | 'node';
    readonly size: number;
    readonly references: number;
  }[];
  readonly roots: readonly { readonly name: string; readonly id: string }[];
  readonly owners: readonly { readonly owner: string; readonly id: string }[];
  readonly side: readonly { readonly key: string; readonly value: string }[];
  /** Records of the root log. */
  readonly log: number;
}

export function readManifest(shape: string): Manifest {
  return JSON.parse(readFileSync(join(goldenFolder, `${shape}.json`), 'utf8')) as Manifest;
}
