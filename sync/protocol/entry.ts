/** What the receiver's machine knows of a blob that somebody needs and that is not known to be here. */
import type { TreeLink } from './difference.ts';

/** A blob that is not known to be here. */
export interface Entry {
  readonly key: string;
  readonly link: TreeLink;
  /** Nodes above it, the shortest way it was met. */
  readonly depth: number;
  /** How many answers had to be there before it could be asked for. */
  readonly round: number;
  state: 'checking' | 'expected' | 'wanted' | 'arriving' | 'held' | 'storing';
  readonly parents: Entry[];
  roots: number;
  node?: { readonly bytes: Uint8Array; readonly links: readonly TreeLink[] };
  /** Children that are neither here nor given to the store. */
  open: number;
  tries: number;
  /** It was given to the store, whole: what links to it may be given right behind it. */
  leads: boolean;
}
