/** Turns small sources into records on a worker thread: reads files, hashes, checks; many at a time into one buffer. */
import type { BlobKind, CompressionMode, CompressionParameters, Link, SourceFacts } from '../api.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { decodeNode, encodeNode } from '../codec/node.ts';
import type { Provider } from '../codec/provider.ts';
import { type StoredChunk, chunkCodecs } from '../codec/chunks.ts';
import { contentOf, decodeRun, readRun } from '../codec/chunk-run.ts';
import { ChunkCompressor } from '../codec/compress.ts';
import { type RecordHead, recordOverhead, writeRecord } from '../codec/record.ts';
import { encodeLinkLocators } from '../codec/locator.ts';
import { type Chunk, sealObject } from '../codec/seal.ts';
import { StoreError, invariant, pathError, toStoreError } from '../errors.ts';
import type { FileFacts, Host, OpenFile } from '../host.ts';
import type { Realm, StoredLink } from '../keys/realm.ts';
import { bytesFile } from './blob-file.ts';
import { Contents } from './contents.ts';
import { incarnationOf } from './incarnation.ts';
import { judgeNow } from './judge-object.ts';

export interface SmallSource {
  /** Bytes, or a file's path. */
  readonly bytes?: Uint8Array;
  readonly path?: string;
  readonly kind: BlobKind;
  /** The source is a node's payload: encode the node. */
  readonly links?: readonly Link[];
  /** Other than the store's. */
  readonly compression?: CompressionMode;
  readonly mediaType?: string;
  /** The bytes are a run of chunks (codec/chunk-run.ts) that were encoded elsewhere. */
  readonly encoded?: true;
  /** The bytes are an object of this locator that was sealed elsewhere. */
  readonly locator?: string;
}

/** A record in the batch's memory. */
export interface EncodedRecord {
  /** sha256 of the content, and its bytes. */
  readonly id: string;
  readonly size: number;
  /** What it is called on disk, and the bytes that are there: those of the content, or of the object it was sealed into. */
  readonly name: string;
  readonly storedContent: number;
  readonly label: Uint8Array | null;
  readonly kind: BlobKind;
  readonly incarnation: number;
  readonly at: number;
  readonly length: number;
  readonly links?: readonly StoredLink[];
  readonly source?: SourceFacts;
  /** Of an object that was sealed elsewhere: its sha256, hex. */
  readonly digest?: string;
}

/** `large`: a file too large for a record. `later`: the batch was full before its turn came; it is to be asked again. */
export type Encoded = EncodedRecord | { readonly large: true } | { readonly later: true };

export interface EncoderOptions {
  readonly host: Host;
  readonly provider: Provider;
  readonly realm: Realm;
  readonly smallMax: number;
  readonly chunkBytes: number;
  readonly compression: CompressionParameters;
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
    this.begin(memory);
    const results = sources.map((source) => {
      const start = this.#at;
      if (start > fullBytes) return { ok: { later: true } as const };
      try {
        return {
          ok:
            source.path === undefined ? this.#bytes(source.bytes!, source) : this.#file(source.path, source),
        };
      } catch (error) {
        this.#at = start;
        return { error };
      }
    });
    return { results, memory: this.end() };
  }

  /** Starts a batch that is filled by `add`, one source after another. */
  begin(memory?: SharedArrayBuffer): void {
    this.#buffer = new Uint8Array(memory ?? new SharedArrayBuffer(startBytes));
    this.#at = 0;
  }

  /** Bytes of the batch so far. */
  get filled(): number {
    return this.#at;
  }

  /** A record of bytes that are no larger than a record may be. */
  add(bytes: Uint8Array, source: SmallSource): EncodedRecord {
    return this.#bytes(bytes, source);
  }

  /** Ends the batch, and gives its memory up. */
  end(): SharedArrayBuffer {
    const { buffer } = this.#buffer;
    this.#buffer = new Uint8Array(0);
    return buffer as SharedArrayBuffer;
  }

  #bytes(bytes: Uint8Array, source: SmallSource): EncodedRecord {
    if (source.locator !== undefined) return this.#object(bytes, { ...source, locator: source.locator });
    if (source.links !== undefined) {
      const node = encodeNode({ links: source.links, payload: bytes });
      return this.#record(node, source, decodeNode(node).links);
    }
    if (source.kind === 'node') return this.#record(bytes, source, decodeNode(bytes).links);
    if (source.encoded === true) return this.#run(bytes, source);
    return this.#record(bytes, source);
  }

  /** Chunks are kept as they came, where they are cut and compressed as here. */
  #run(bytes: Uint8Array, source: SmallSource): EncodedRecord {
    const { provider, smallMax, chunkBytes, compression } = this.#options;
    const chunks = readRun(bytes);
    const size = contentOf(chunks);
    if (size > smallMax)
      throw new StoreError('limit-exceeded', `a small blob of ${size} bytes comes encoded`);
    const content = decodeRun(provider, chunks);
    const codec = compression.mode === 'off' ? undefined : new ChunkCompressor(provider, compression).codec;
    const isOurs = chunks.every(
      (chunk, i) =>
        chunk.length === Math.min(chunkBytes, size - i * chunkBytes) &&
        (chunk.codec === chunkCodecs.identity || chunk.codec === codec),
    );
    return this.#record(content, source, undefined, isOurs ? chunks : undefined);
  }

  #file(path: string, options: SmallSource): Encoded {
    const file = openSource(this.#options.host, path);
    try {
      const before = file.facts();
      checkSource(path, before);
      if (before.size > this.#options.smallMax) return { large: true };
      const place = recordOverhead(before.size, this.#chunkLog2);
      this.#room(place + before.size + 1);
      // One byte more than it should have: a file that grew is seen.
      const target = this.#buffer.subarray(this.#at + place, this.#at + place + before.size + 1);
      const count = file.read(target, 0);
      const source = unchanged(path, before, file.facts(), count);
      return { ...this.#record(target.subarray(0, before.size), options), source };
    } catch (error) {
      throw toStoreError(error, `reading ${path}`, { path });
    } finally {
      file.close();
    }
  }

  #record(
    content: Uint8Array,
    options: SmallSource,
    links?: readonly Link[],
    encoded?: readonly StoredChunk[],
  ): EncodedRecord {
    const { provider } = this.#options;
    const kind = links === undefined ? 'raw' : 'node';
    const id = provider.sha256(content);
    const incarnation = this.#incarnation();
    const chunks = encoded ?? this.#chunks(content, options);
    const facts = { id: toHex(id), size: content.length };
    const { realm } = this.#options;
    const name = realm.nameOf(facts.id);
    const sealed = this.#seal(id, chunks, content, links);
    const stored = sealed?.length ?? content.length;
    const pieces = sealed === undefined ? chunks : asTheyAre(sealed, this.#options.chunkBytes);
    const named = sealed === undefined ? id : fromHex(name)!;
    const place = this.#write(pieces, { kind, sealed: sealed !== undefined, id: named, incarnation, stored });
    return {
      ...facts,
      name,
      storedContent: stored,
      label: realm.label(facts, { name }),
      kind,
      incarnation,
      ...place,
      ...(links === undefined
        ? {}
        : { links: links.map((link) => ({ ...link, name: realm.nameOf(link.id) })) }),
    };
  }

  /** An object that was sealed elsewhere, as it is. */
  #object(object: Uint8Array, { locator, kind }: SmallSource & { readonly locator: string }): EncodedRecord {
    const { provider, realm, chunkBytes } = this.#options;
    const contents = new Contents(provider, realm);
    const { facts, links } = judgeNow(contents, { locator, kind }, bytesFile(object));
    const [incarnation, stored] = [this.#incarnation(), object.length];
    const head = { kind, sealed: true, id: fromHex(locator)!, incarnation, stored };
    return {
      id: facts?.id ?? locator,
      size: facts?.size ?? stored,
      name: locator,
      storedContent: stored,
      label: contents.labelOf(facts),
      kind,
      incarnation,
      ...this.#write(asTheyAre(object, chunkBytes), head),
      digest: provider.sha256Hex(object),
      ...(kind === 'raw'
        ? {}
        : { links: links.map((link) => ({ kind: link.kind, id: link.locator, name: link.locator })) }),
    };
  }

  /** Writes a record into the batch. */
  #write(
    chunks: readonly StoredChunk[],
    {
      stored,
      ...head
    }: Pick<RecordHead, 'kind' | 'sealed' | 'id' | 'incarnation'> & { readonly stored: number },
  ): { readonly at: number; readonly length: number } {
    const overhead = recordOverhead(stored, this.#chunkLog2);
    this.#room(chunks.reduce((sum, { bytes }) => sum + bytes.length, overhead));
    const at = this.#at;
    const whole = { part: 0, offset: 0, last: true, size: stored, contentBytes: stored } as const;
    this.#at = writeRecord(this.#options.provider, this.#buffer, at, {
      head: { ...head, ...whole, chunkLog2: this.#chunkLog2 },
      chunks,
    });
    return { at, length: this.#at - at };
  }

  /** The sealed object of a small blob; undefined in a store without encryption. */
  #seal(
    id: Uint8Array,
    chunks: readonly StoredChunk[],
    content: Uint8Array,
    links: readonly Link[] | undefined,
  ): Uint8Array | undefined {
    const { provider, realm, chunkBytes } = this.#options;
    if (realm.state === 'plain') return undefined;
    const { sealing } = realm;
    invariant(sealing !== undefined, 'nothing is put into a locked store');
    const { padding, keyring, header } = sealing;
    const clear =
      links === undefined ? new Uint8Array(0) : encodeLinkLocators(provider, keyring.idKey, links);
    const whole = chunks.map(({ codec, bytes }, i): Chunk => {
      const length = Math.min(chunkBytes, content.length - i * chunkBytes);
      return { codec, bytes, length };
    });
    // Something must be the last, also of nothing.
    if (whole.length === 0) whole.push({ codec: chunkCodecs.identity, bytes: content, length: 0 });
    const role = links === undefined ? 'raw' : 'node';
    return sealObject(provider, { ...header(role, this.#chunkLog2, clear), chunks: whole, id, padding });
  }

  #chunks(content: Uint8Array, options: SmallSource): StoredChunk[] {
    const { provider, compression, chunkBytes } = this.#options;
    const mode = options.compression ?? compression.mode;
    const pieces = asTheyAre(content, chunkBytes);
    if (mode === 'off') return pieces;
    const { mediaType } = options;
    const compressor = new ChunkCompressor(provider, { ...compression, mode, mediaType });
    return pieces.map(({ bytes }) => compressor.encode(bytes));
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

/** Cut, not encoded. */
function asTheyAre(bytes: Uint8Array, chunkBytes: number): StoredChunk[] {
  const chunks: StoredChunk[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes)
    chunks.push({ codec: chunkCodecs.identity, bytes: bytes.subarray(at, at + chunkBytes) });
  return chunks;
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
