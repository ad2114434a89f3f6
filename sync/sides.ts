/** A store as the two sides of a transfer: by ids, or by locators where neither side needs keys. */
import { type Store, StoreError } from '../engine/index.ts';
import { spokenForms } from './connection.ts';
import type { Sink, Source } from './peer.ts';
import { SealedSink } from './peers/sealed-sink.ts';
import { SealedSource } from './peers/sealed-source.ts';
import { StoreSink } from './peers/store-sink.ts';
import { StoreSource } from './peers/store-source.ts';
import type { BlobForm, Namespace } from './protocol/message.ts';

export interface Sides {
  readonly source: Source;
  readonly sink: Sink;
  /** How blobs may travel. */
  readonly forms: readonly BlobForm[];
}

/** What blobs are called, where that is said, and else: without keys nobody knows ids. */
export function namespaceOf(store: Store, by: Namespace | undefined): Namespace {
  if (by === undefined) return store.sealed.locked ? 'locators' : 'ids';
  if (by === 'ids' || by === 'locators') return by;
  throw new StoreError(
    'invalid-argument',
    `blobs are called by 'ids' or by 'locators', not by ${JSON.stringify(by)}`,
  );
}

export function sidesOf(store: Store, by: Namespace | undefined): Sides {
  return namespaceOf(store, by) === 'ids'
    ? { source: new StoreSource(store), sink: new StoreSink(store), forms: spokenForms }
    : { source: new SealedSource(store), sink: new SealedSink(store), forms: ['content', 'manifest'] };
}

/** What a peer may do at a store that serves it. `append`: push roots of names that are new there, and move none. */
export type Allowed = 'pull' | 'push' | 'append' | 'both';

export function checkAllowed(allow: Allowed, what: 'pull' | 'push'): void {
  if (what === 'pull' && (allow === 'push' || allow === 'append'))
    throw new StoreError('forbidden', 'nothing may be pulled from here');
  if (what === 'push' && allow === 'pull') throw new StoreError('forbidden', 'nothing may be pushed to here');
}
