/** What the receiver's machine is told of a transfer when it begins. */
import type { ArrivalOptions } from './arrivals.ts';
import type { ReceiveWindow } from './credit.ts';
import type { TreeLink } from './difference.ts';
import type { AskedRoot, BlobId } from './message.ts';

export interface ReceiverOptions extends ArrivalOptions {
  readonly sha256Hex: (bytes: Uint8Array) => string;
  /** What a node links to, where it is not known by its sha256: `corrupt` for what is none. */
  readonly linksOf?: ((bytes: Uint8Array) => readonly TreeLink[]) | undefined;
  readonly window: ReceiveWindow;
  readonly ask: { readonly all: boolean; readonly roots: readonly AskedRoot[] };
  /** What the roots must be, where the peer has offered them. */
  readonly offered?: ReadonlyMap<string, BlobId>;
  /** What each root is now; roots that are not there are left out. */
  readonly current: ReadonlyMap<string, BlobId>;
  /** Bytes that are here of large blobs whose transfer was cut. */
  readonly partials: ReadonlyMap<BlobId, number>;
  /** Roots that would go back are refused by whoever keeps what was seen. */
  readonly judged?: boolean;
  /** All of each root comes unasked, with a base or without: an offline stream. */
  readonly unasked?: boolean;
  /** The most that may come in one transfer. */
  readonly quota: { readonly blobs: number; readonly bytes: number };
}
