/** The offline stream, read: taken in like a transfer where nothing can be asked for, and believed when its last digest is right. */
import { type BlobId, type Store, StoreError, nodeProvider } from '../engine/index.ts';
import type { Ending, Sink } from './peer.ts';
import { Notes } from './peers/notes.ts';
import { StoreSink } from './peers/store-sink.ts';
import { type Quota, receiveRoots } from './receiving.ts';
import { type StreamHead, StreamWire, streamBegin } from './stream-wire.ts';

export interface ReceiveStreamOptions {
  /** Goes on after the last part that was stored, when a stream was cut; the same stream has to come again. */
  readonly resume?: boolean;
  /** The most that may come; default without bounds. */
  readonly quota?: Partial<Quota>;
  readonly signal?: AbortSignal;
  /** Blobs and bytes stored so far. */
  readonly onProgress?: (progress: { readonly blobs: number; readonly bytes: number }) => void;
}

export interface ReceivedStream {
  readonly name: string;
  readonly id: BlobId;
  readonly base: BlobId | null;
  /** Whether the root moved. */
  readonly changed: boolean;
  /** Blobs that were not here, and their bytes. */
  readonly blobs: number;
  readonly bytes: number;
  /** Where it was gone on, and where it ended, in bytes of the stream. */
  readonly resumedAt: number;
  readonly streamBytes: number;
}

/** The bytes of a stream: from the first on, or, where they can be had so, from any place on. */
export type StreamInput = AsyncIterable<Uint8Array> | ((offset: number) => AsyncIterable<Uint8Array>);

/**
 * Takes a stream of `sendStream` in. When all of it has come, each blob and each part was what it says, and all that the root reaches is
 * here and durable, the root moves by compare-and-swap: from whatever it was at the beginning, but where the stream builds on a base,
 * only from that base or from nothing (`conflict`). Else no root moves, and nothing wrong is kept:
 *
 * - `unavailable`: the stream was cut. What came is kept; `resume` goes on after the last whole part.
 * - `corrupt`: it is damaged, or no stream. `forbidden`, `limit-exceeded`: it carries what its root does not name, or over a limit.
 * - `not-found`: the base is not here, told before anything is stored; or what a cut stream had brought was collected.
 */
export async function receiveStream(
  store: Store,
  input: StreamInput,
  options: ReceiveStreamOptions = {},
): Promise<ReceivedStream> {
  options.signal?.throwIfAborted();
  const notes = new Notes(store);
  const left = await notes.stream();
  const noted = options.resume === true ? left : undefined;
  if (left !== undefined && noted === undefined) await notes.setStream(undefined);
  const at = noted ?? streamBegin;
  const bytes = (typeof input === 'function' ? input(at.offset) : skip(input, at.offset))[
    Symbol.asyncIterator
  ]();
  const sink = new StoreSink(store);
  const wire = new StreamWire(bytes, {
    identity: await sink.identity(),
    at,
    onPart: (next) => notes.setStream(next),
  });
  try {
    const head = await unlessAborted(options.signal, noted === undefined ? wire.begin() : rest(wire));
    const received = await takeIn(sink, { wire, head, options });
    await notes.setStream(undefined);
    return { ...received, resumedAt: at.offset, streamBytes: wire.offset };
  } catch (error) {
    // What is missing does not come with the rest.
    if (StoreError.is(error, 'not-found')) await notes.setStream(undefined).catch(() => undefined);
    throw error;
  } finally {
    // Not waited for: it may be in the middle of a read that nothing ends.
    bytes.return?.().catch(() => undefined);
  }
}

/** The input may never give a byte, and knows nothing of the signal. */
async function unlessAborted<Value>(signal: AbortSignal | undefined, work: Promise<Value>): Promise<Value> {
  if (signal === undefined) return await work;
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** The head of the part at which a cut stream goes on. */
async function rest(wire: StreamWire): Promise<StreamHead> {
  try {
    return await wire.begin();
  } catch (error) {
    if (!StoreError.is(error, 'corrupt')) throw error;
    throw new StoreError(
      'conflict',
      'this is not the rest of the stream that was cut: receive it from its beginning',
      {},
      error,
    );
  }
}

interface Intake {
  readonly wire: StreamWire;
  readonly head: StreamHead;
  readonly options: ReceiveStreamOptions;
}

async function takeIn(
  sink: Sink,
  { wire, head, options }: Intake,
): Promise<Omit<ReceivedStream, 'resumedAt' | 'streamBytes'>> {
  const { name, id, base } = head.root;
  let ending: Ending = { how: 'refused' };
  try {
    const state = await sink.begin([name], new Map());
    const current = state.current.get(name) ?? null;
    if (base !== null) await checkBase(sink, { name, id, base, current });
    const { quota, onProgress, signal } = options;
    const counts = await receiveRoots(wire, sink, {
      ask: { all: false, roots: [{ name, haves: base === null ? [] : [base] }] },
      unasked: true,
      state,
      quota: { blobs: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY, ...quota },
      sha256Hex: (bytes) => nodeProvider.sha256Hex(bytes),
      onProgress,
      signal,
    });
    ending = { how: 'done', peer: head.peer, roots: [{ name, id }] };
    const { blobs, bytes } = counts;
    return { name, id, base, changed: counts.roots[0]!.changed, blobs, bytes };
  } catch (error) {
    // An abort is ours: nothing speaks against the stream.
    if (!StoreError.is(error) || error.code === 'unavailable') ending = { how: 'cut' };
    throw error;
  } finally {
    const ended = sink.end(ending);
    // The error that came first is the one to tell.
    await (ending.how === 'done' ? ended : ended.catch(() => undefined));
  }
}

async function checkBase(
  sink: Sink,
  {
    name,
    id,
    base,
    current,
  }: { readonly name: string; readonly id: BlobId; readonly base: BlobId; readonly current: BlobId | null },
): Promise<void> {
  const [here] = await sink.has([{ kind: 'node', id: base }]);
  if (here !== true)
    throw new StoreError('not-found', `the stream builds on ${base}, which is not here`, { id: base });
  if (current !== null && current !== base && current !== id)
    throw new StoreError('conflict', `root ${name} is ${current}, and the stream builds on ${base}`, {
      root: name,
      found: current,
    });
}

/** The bytes after the first so many. */
async function* skip(
  input: AsyncIterable<Uint8Array>,
  count: number,
): AsyncGenerator<Uint8Array, void, void> {
  let left = count;
  for await (const bytes of input) {
    if (bytes.length > left) yield left === 0 ? bytes : bytes.subarray(left);
    left = Math.max(0, left - bytes.length);
  }
}
