/** Blobs copied in from elsewhere by their ids: each verified and put like any other, what a node links to before the node itself. */
import type { BlobId, BlobKind, BlobSource, Link, PutResult, Store } from './api.ts';
import { decodeNode } from './codec/node.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Ingest } from './ingest.ts';
import { openStream } from './stream.ts';

export interface CopyInParts {
  readonly crew: Crew;
  readonly ingest: Ingest;
  readonly query: <Result>(name: string, ...args: readonly unknown[]) => Promise<Result>;
}

/** What of a blob is here, and in alternates. */
interface Presence {
  readonly here: boolean;
  readonly lent?: BlobKind;
}

export async function presenceOf({ query }: Pick<CopyInParts, 'query'>, id: BlobId): Promise<Presence> {
  return (await query<Presence[]>('presence', [id]))[0]!;
}

/** The alternates of a store, whatever it has itself. */
export function alternatesOf(parts: CopyInParts): BlobSource {
  const whole = { offset: 0, length: Number.MAX_SAFE_INTEGER, lent: true } as const;
  return {
    kindOf: async (id) => (await presenceOf(parts, id)).lent,
    stream: async (id, signal) =>
      openStream(
        parts.crew.worker(),
        { id, signal, ...whole },
        { onError: () => undefined, onPull: () => undefined },
      ),
  };
}

export function sourceOf(store: Store): BlobSource {
  return {
    kindOf: async (id) => (await store.stat(id))?.kind,
    stream: (id, signal) => store.stream(id, signal === undefined ? {} : { signal }),
  };
}

interface Wanted {
  readonly id: BlobId;
  readonly kind: BlobKind;
  /** The first child that was missing when it was tried last. */
  lacked?: BlobId;
}

/**
 * Copies one blob in from a source; undefined when the source does not have it. What a node links to and is nowhere here comes first, from
 * the same source, level by level. `corrupt` and so on as the source says; each blob that was copied stays, so that the next try goes on.
 */
export async function copyIn(
  parts: CopyInParts,
  source: BlobSource,
  top: { readonly id: BlobId; readonly kind: BlobKind },
  {
    signal,
    onPut,
  }: {
    readonly signal?: AbortSignal | undefined;
    /** Told of each blob that came in. */
    readonly onPut?: (put: PutResult) => void;
  } = {},
): Promise<PutResult | undefined> {
  const stack: Wanted[] = [{ ...top }];
  for (;;) {
    signal?.throwIfAborted();
    const one = stack.at(-1)!;
    const kind = await source.kindOf(one.id);
    if (kind === undefined) {
      if (stack.length === 1) return undefined;
      throw new StoreError('not-found', `blob ${one.id}, which a node links to, is not there either`, {
        id: one.id,
      });
    }
    const put = await putFrom(
      parts,
      source,
      { id: one.id, isNode: kind === 'node' && one.kind === 'node' },
      signal,
    );
    if ('result' in put) {
      onPut?.(put.result);
      stack.pop();
      if (stack.length === 0) return put.result;
      continue;
    }
    const [first] = put.missing;
    if (first === undefined || first.id === one.lacked)
      throw new StoreError('conflict', `what blob ${one.id} links to does not stay here`, { id: one.id });
    one.lacked = first.id;
    stack.push(...put.missing.map(({ id, kind: wanted }) => ({ id, kind: wanted })));
  }
}

type Outcome = { readonly result: PutResult } | { readonly missing: readonly Link[] };

async function putFrom(
  { ingest }: CopyInParts,
  source: BlobSource,
  { id, isNode }: { readonly id: BlobId; readonly isNode: boolean },
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const stream = await source.stream(id, signal);
  if (stream === undefined) throw new StoreError('not-found', `blob ${id} is not there any more`, { id });
  const options = { expectId: id, ...(signal === undefined ? {} : { signal }) };
  if (!isNode) return { result: await ingest.put(stream, options) };
  const bytes = await bytesOf(stream);
  try {
    return { result: await ingest.put(bytes, { ...options, kind: 'node' }) };
  } catch (error) {
    const missing = StoreError.is(error, 'not-found') ? error.facts['missing'] : undefined;
    if (!Array.isArray(missing)) throw error;
    const ids = new Set(missing as string[]);
    return { missing: decodeNode(bytes).links.filter((link) => ids.has(link.id)) };
  }
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
