/** Sources of a put: what counts as one, waiting for one that may be aborted, and bytes cut into pieces that travel alone. */
import type { PutSource } from './api.ts';
import { concatBytes } from './codec/bytes.ts';
import { encodeRun } from './codec/chunk-run.ts';
import { chunkCodecs } from './codec/chunks.ts';
import { StoreError } from './errors.ts';

/** Largest piece of a stream sent to a worker in one message. */
const pieceBytes = 1024 * 1024;

export type StreamSource = Exclude<PutSource, Uint8Array | { readonly path: string }>;

/** A run of chunks that were encoded elsewhere, in the place of their content. */
export class Encoded {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What those are compressed by that are. */
  readonly codec: number;
  /** Bytes of content. */
  readonly length: number;

  /** Copies the bytes. */
  constructor(bytes: Uint8Array, codec: number, length: number) {
    this.bytes = new Uint8Array(bytes);
    this.codec = codec;
    this.length = length;
  }
}

type Part = Uint8Array | Encoded;

/** What was read of a stream, and the rest of it. */
export interface Gathered {
  readonly head: readonly Part[];
  readonly rest: AsyncIterator<Part> | undefined;
}

export function checkSource(source: unknown): void {
  const thing = typeof source === 'object' && source !== null ? source : undefined;
  if (
    thing instanceof Uint8Array ||
    (thing !== undefined && ('path' in thing || Symbol.asyncIterator in thing))
  )
    return;
  throw new StoreError(
    'invalid-argument',
    'a source is a Uint8Array, { path }, a stream or an async iterable of Uint8Arrays',
  );
}

/** A Node file stream has a path too, and is a stream. */
export function isPath(source: PutSource): source is { readonly path: string } {
  return 'path' in source && !(Symbol.asyncIterator in source) && !(source instanceof Uint8Array);
}

/** The iterator of a stream; with a signal, an abort ends waiting for a source that has stalled. */
export function iteratorOf(source: StreamSource, signal: AbortSignal | undefined): AsyncIterator<Uint8Array> {
  const inner = (source as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  if (signal === undefined) return inner;
  const end = (): Promise<unknown> => {
    const ended = Promise.resolve(inner.return?.());
    ended.catch(() => undefined); // the put has its own error to tell
    return ended;
  };
  return {
    next: () =>
      new Promise((resolve, reject) => {
        const onAbort = (): void => {
          void end();
          reject(signal.reason as Error);
        };
        if (signal.aborted) return onAbort();
        signal.addEventListener('abort', onAbort, { once: true });
        const settle = (): void => signal.removeEventListener('abort', onAbort);
        inner.next().then(resolve, reject).then(settle, settle);
      }),
    async return() {
      const ended = end();
      if (!signal.aborted) await ended; // one that has stalled never says that it ended
      return { done: true, value: undefined };
    },
  };
}

/** Reads a stream until it is known to be small; then its bytes, else what was read and the rest. */
export async function gather(
  rest: AsyncIterator<Part>,
  smallMax: number,
): Promise<Uint8Array | Encoded | Gathered> {
  const head: Part[] = [];
  let bytes = 0;
  for (;;) {
    const next = await rest.next();
    if (next.done === true) return joined(head);
    if (!isPart(next.value)) {
      await rest.return?.();
      throw notBytes();
    }
    // Kept for a while: the source may use its buffer again. (A Buffer's slice() is no copy.)
    head.push(next.value instanceof Encoded ? next.value : new Uint8Array(next.value));
    bytes += next.value.length;
    if (bytes > smallMax) return { head, rest };
  }
}

/** Pieces of at most 1 MiB, each in a buffer of its own, to be moved to a worker. `spare`: pieces that came back, whose memory is used again. */
export async function* pieces(
  source: Gathered,
  spare: Uint8Array<ArrayBuffer>[] = [],
): AsyncIterable<Uint8Array<ArrayBuffer> | Encoded> {
  for (const part of source.head) yield* cut(part, spare);
  if (source.rest === undefined) return;
  try {
    for (let next = await source.rest.next(); next.done !== true; next = await source.rest.next()) {
      if (!isPart(next.value)) throw notBytes();
      yield* cut(next.value, spare);
    }
  } finally {
    await source.rest.return?.();
  }
}

/** Bytes as they go into a message: a view would take the whole buffer below it along. */
export function alone(bytes: Uint8Array): Uint8Array {
  const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return whole ? bytes : new Uint8Array(bytes);
}

function isPart(value: unknown): value is Part {
  return value instanceof Uint8Array || value instanceof Encoded;
}

/** Content among chunks becomes one of them. */
function joined(parts: readonly Part[]): Uint8Array | Encoded {
  const encoded = parts.find((part) => part instanceof Encoded);
  if (encoded === undefined) return Buffer.concat(parts as readonly Uint8Array[]);
  const runs = parts.map((part) => {
    if (part instanceof Encoded) return part.bytes;
    const { length } = part;
    return encodeRun(length === 0 ? [] : [{ codec: chunkCodecs.identity, bytes: part, length }]);
  });
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return new Encoded(concatBytes(...runs), encoded.codec, length);
}

function* cut(part: Part, spare: Uint8Array<ArrayBuffer>[]): Iterable<Uint8Array<ArrayBuffer> | Encoded> {
  if (part instanceof Encoded) {
    yield part;
    return;
  }
  const bytes = part;
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const slice = bytes.subarray(at, at + pieceBytes);
    const used = spare.pop();
    if (used === undefined || used.buffer.byteLength < slice.length) yield new Uint8Array(slice);
    else {
      const piece = new Uint8Array(used.buffer, 0, slice.length);
      piece.set(slice);
      yield piece;
    }
  }
}

function notBytes(): StoreError {
  return new StoreError('invalid-argument', 'a stream to put must give Uint8Arrays');
}
