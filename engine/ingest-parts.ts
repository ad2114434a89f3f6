/** What both ways of a put share: what they are given of the store, and what options mean to them. */
import type PQueue from 'p-queue';
import type {
  BlobId,
  BlobKind,
  ChunkingMode,
  EncodedPutOptions,
  Layout,
  Link,
  PutOptions,
  PutResult,
  SourceFacts,
} from './api.ts';
import type { Operation, PutOutcome } from './commit/operations.ts';
import type { StageHow } from './content/staging.ts';
import type { Crew } from './crew.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';

export interface IngestParts {
  readonly crew: Crew;
  readonly queue: PQueue;
  readonly host: Host;
  readonly smallMax: number;
  /** Encrypted, and opened without a key: nothing can be put. */
  readonly locked: boolean;
  readonly submit: <Result>(operation: Operation) => Promise<Result>;
  /** The store's. */
  readonly chunking: ChunkingMode;
  readonly layout: Layout;
  /** Runs work whose puts no collection touches until it has ended. */
  readonly during: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly onHealed: (id: BlobId) => void;
  readonly onFailure: (error: unknown) => void;
}

/** `gained`: bytes that the owner of a put alone holds by it, and did not before. */
export type CountedPut = PutResult & { readonly gained?: number; readonly digest?: string };

export function resultOf(
  {
    id,
    size,
    source,
    digest,
  }: Pick<CountedPut, 'id' | 'size'> & {
    readonly source?: SourceFacts | undefined;
    readonly digest?: string | undefined;
  },
  { storedSize, deduplicated, gained }: PutOutcome,
): CountedPut {
  return {
    ...{ id, size, storedSize, deduplicated },
    ...(source === undefined ? {} : { source }),
    ...(digest === undefined ? {} : { digest }),
    ...(gained === undefined ? {} : { gained: gained === 'content' ? size : gained }),
  };
}

/** `expected` is asked when all bytes have come. */
export type IngestOptions = PutOptions &
  Pick<EncodedPutOptions, 'expected'> & { readonly object?: ObjectPut };

/** The source is an object that was sealed elsewhere. */
export interface ObjectPut {
  readonly locator: string;
  readonly kind: BlobKind;
  /** Where it is a node: its links, by locators in the place of ids. */
  readonly links: readonly Link[];
  /** Without keys: where another blob of this name is here, it stays. */
  readonly keep: boolean;
}

/** `conflict` where the caller knows better what the bytes should be. */
export function expectId(id: BlobId, options: IngestOptions): void {
  const expected = options.expectId ?? options.expected?.();
  if (expected === undefined || expected === id) return;
  throw new StoreError('conflict', `the bytes have id ${id}, not ${expected}`, { id, expected });
}

export function howOf(options: IngestOptions): StageHow {
  const { compression, mediaType, object } = options;
  return {
    ...(object === undefined ? {} : { locator: object.locator }),
    ...(compression === undefined ? {} : { compression }),
    ...(mediaType === undefined ? {} : { mediaType }),
  };
}

export function ownerOf(options: PutOptions): { readonly owner?: string } {
  return options.owner === undefined ? {} : { owner: options.owner };
}
