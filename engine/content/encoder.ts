/** Turns small sources into records on a worker thread: reads files, hashes, checks; many at a time into one buffer. */
import type { BlobKind, Link, SourceFacts } from '../api.ts';
import { toHex } from '../codec/bytes.ts';
import { decodeNode, encodeNode } from '../codec/node.ts';
import type { Provider } from '../codec/provider.ts';
import { identityCodec, payloadPlace, recordBytes, writeRecord } from '../codec/record.ts';
import { StoreError, pathError, toStoreError } from '../errors.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';

export interface SmallSource {
  /** Bytes, or a file's path. */
  readonly bytes?: Uint8Array;
  readonly path?: string;
  readonly kind: BlobKind;
  /** The source is a node's payload: encode the node. */
  readonly links?: readonly Link[];
}

/** A record in the batch's memory. */
export interface EncodedRecord {
  readonly id: string;
  readonly size: number;
  readonly kind: BlobKind;
  readonly incarnation: number;
  readonly at: number;
  readonly length: number;
  readonly links?: readonly Link[];
  readonly source?: SourceFacts;
}

/** `large`: a file too large for a record. `later`: the batch was full before its turn came; it is to be asked again. */
export type Encoded = EncodedRecord | { readonly large: true } | { readonly later: true };

export interface EncoderOptions {
  readonly host: Host;
  readonly provider: Provider;
  readonly smallMax: number;
  readonly chunkBytes: number;
}

export interface EncodedBatch {
  readonly results: readonly ({ readonly ok: Encoded } | { readonly error: unknown })[];
  /** Shared, so that records cross threads without being copied. */
  readonly memory: SharedArrayBuffer;
}

/** Memory of a batch; one that needs more gets more. */
const startBytes = 4 * 1024 * 1024;
/** A batch is full here; its last record may reach beyond. How large files are is only seen when they are opened. */
const fullBytes = 3 * 1024 * 1024;

export class Encoder {
  readonly #options: EncoderOptions;
  readonly #chunkLog2: number;
  #buffer: Uint8Array = new Uint8Array(0);
  #at = 0;
  #random: Uint8Array = new Uint8Array(0);
  #randomAt = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
    this.#chunkLog2 = Math.log2(options.chunkBytes);
  }

  /** `memory` is the caller's, used again and again; a larger piece is made when it does not suffice. */
  encode(sources: readonly SmallSource[], memory?: SharedArrayBuffer): EncodedBatch {
    this.#buffer = new Uint8Array(memory ?? new SharedArrayBuffer(startBytes));
    this.#at = 0;
    const results = sources.map((source) => {
      const start = this.#at;
      if (start > fullBytes) return { ok: { later: true } as const };
      try {
        return {
          ok: source.path === undefined ? this.#bytes(source.bytes!, source) : this.#file(source.path),
        };
      } catch (error) {
        this.#at = start;
        return { error };
      }
    });
    const { buffer } = this.#buffer;
    this.#buffer = new Uint8Array(0);
    return { results, memory: buffer as SharedArrayBuffer };
  }

  #bytes(bytes: Uint8Array, source: SmallSource): Encoded {
    if (source.links !== undefined) {
      const node = encodeNode({ links: source.links, payload: bytes });
      return this.#record(node, 'node', decodeNode(node).links);
    }
    if (source.kind === 'node') return this.#record(bytes, 'node', decodeNode(bytes).links);
    return this.#record(bytes, 'raw');
  }

  #file(path: string): Encoded {
    const file = openSource(this.#options.host, path);
    try {
      const before = file.facts();
      checkSource(path, before);
      if (before.size > this.#options.smallMax) return { large: true };
      const place = payloadPlace(before.size, this.#chunkLog2);
      this.#room(place + before.size + 1);
      // One byte more than it should have: a file that grew is seen.
      const target = this.#buffer.subarray(this.#at + place, this.#at + place + before.size + 1);
      const count = file.read(target, 0);
      const source = unchanged(path, before, file.facts(), count);
      return { ...this.#record(target.subarray(0, before.size), 'raw'), source };
    } catch (error) {
      throw toStoreError(error, `reading ${path}`, { path });
    } finally {
      file.close();
    }
  }

  #record(payload: Uint8Array, kind: BlobKind, links?: readonly Link[]): EncodedRecord {
    const { provider } = this.#options;
    const id = provider.sha256(payload);
    const incarnation = this.#incarnation();
    const length = recordBytes(payload.length, this.#chunkLog2);
    this.#room(length);
    const at = this.#at;
    const head = {
      kind,
      codec: identityCodec,
      id,
      incarnation,
      part: 0,
      offset: 0,
      last: true,
      size: payload.length,
      chunkLog2: this.#chunkLog2,
      payloadBytes: payload.length,
    };
    this.#at = writeRecord(provider, this.#buffer, at, { head, payload });
    return {
      id: toHex(id),
      size: payload.length,
      kind,
      incarnation,
      at,
      length,
      ...(links === undefined ? {} : { links }),
    };
  }

  /** Randomness by the page: a call for six bytes costs as much as one for thousands. */
  #incarnation(): number {
    if (this.#randomAt + 6 > this.#random.length) {
      this.#random = this.#options.host.random(6 * 1024);
      this.#randomAt = 0;
    }
    this.#randomAt += 6;
    return incarnationOf(this.#random, this.#randomAt - 6);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const grown = new Uint8Array(new SharedArrayBuffer(Math.max(2 * this.#buffer.length, this.#at + bytes)));
    grown.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = grown;
  }
}

/** 48 random bits: two copies of one blob never share a name. */
export function randomIncarnation(host: Host): number {
  return incarnationOf(host.random(6), 0);
}

function incarnationOf(random: Uint8Array, at: number): number {
  const view = new DataView(random.buffer, random.byteOffset + at, 6);
  return view.getUint32(0) * 0x1_0000 + view.getUint16(4);
}

/** Opens a file to be put; what cannot be read is said with its path. */
export function openSource(host: Host, path: string): OpenFile {
  try {
    return host.files.open(path, 'read');
  } catch (error) {
    throw pathError(error, path);
  }
}

function checkSource(path: string, facts: FileFacts): void {
  if (facts.kind !== 'file')
    throw new StoreError('invalid-argument', `not a regular file: ${path}`, { path, kind: facts.kind });
}

/** The facts of a source that was the same before and after reading; `source-changed` otherwise. */
export function unchanged(path: string, before: FileFacts, after: FileFacts, read: number): SourceFacts {
  const same =
    before.size === after.size &&
    before.mtimeNs === after.mtimeNs &&
    before.ctimeNs === after.ctimeNs &&
    read === before.size;
  if (!same) throw new StoreError('source-changed', `${path} changed while it was read`, { path });
  const { size, mode, mtimeNs, ctimeNs, dev, ino } = after;
  return { size, mode, mtimeNs, ctimeNs, dev, ino };
}
