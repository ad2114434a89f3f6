/** Borrowing: what a commit is about to put or refer to, and an alternate has, gets a row here before the commit looks for it. */
import { type BlobRow, isBorrowed } from '../catalog/blob-rows.ts';
import { type Borrow, neverPut } from '../catalog/borrow.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { StoreError } from '../errors.ts';
import type { CommitOperation as Operation } from './operations.ts';

/** The alternates, as far as borrowing goes. */
export interface LendingAlternates {
  /** Looks which there are now; false where there are none. What is asked after is asked of those. */
  look(): boolean;
  /** An alternate that has the blob as this kind, undamaged and in its place, does not delete it, and was told of us durably. */
  lend(id: Uint8Array, kind: number): Borrow | undefined;
  /** Whether that is so still. */
  stillLends(id: Uint8Array, kind: number): boolean;
}

/**
 * Ahead of the commit, in a transaction of its own, and only then looked at again: whoever collects in the alternate says first what it
 * is about to delete, and then looks who borrowed it. So of the two one sees the other, or both do. What turns out to be going there
 * is taken back, and the commit stores it here.
 */
export function borrowFirst(
  catalog: Catalog,
  alternates: LendingAlternates,
  operations: readonly Operation[],
): void {
  if (!alternates.look()) return;
  const lent = new Map<string, Borrow>();
  const look = (id: string, kind: number): boolean => {
    if (lent.has(id)) return lent.get(id)!.kind >= kind;
    const name = fromHex(id)!;
    if (catalog.blobs.numberOf(name) !== undefined) return false;
    const found = alternates.lend(name, kind);
    if (found !== undefined) lent.set(id, found);
    return found !== undefined;
  };
  for (const operation of operations) {
    switch (operation.op) {
      case 'put-small':
        // Chunks and manifests of a chunked blob are what this store has of it: they are read through its own rows.
        if (operation.part === true || operation.instead !== undefined) break;
        if (look(operation.id, operation.kind === 'node' ? 1 : 0)) break;
        for (const { name } of operation.links ?? []) look(name, 0);
        break;
      case 'probe-large':
        if (operation.instead === undefined) look(operation.id, 0);
        break;
      case 'put-chunked':
      case 'retain':
      case 'set-root':
        look(operation.id, 0);
        break;
      default:
        break;
    }
  }
  if (lent.size === 0) return;
  const { own, generation } = catalog.transaction((transaction) => ({
    own: [...lent].filter(([id, found]) => transaction.borrow(id, found)),
    generation: transaction.state.generation,
  }));
  alternates.look();
  const going = own.filter(([id, { kind }]) => !alternates.stillLends(fromHex(id)!, kind));
  if (going.length === 0) return;
  catalog.transaction((transaction) => {
    for (const [id] of going) {
      const row = catalog.blobs.byId(fromHex(id)!);
      // Who has put it by now was told that it is here, and perhaps stored it: then it stays. So it does where somebody else refers to it,
      // and if it goes all the same a scrub tells.
      if (row?.touched_gen !== generation || !isBorrowed(row) || catalog.refs.any(row.n)) continue;
      transaction.changed = true;
      catalog.blobs.delete(row);
    }
  });
}

/**
 * Ahead of a reference to a blob. One that another process has just borrowed may be taken back by that one, and be deleted by its lender:
 * then a reference would keep a row of nothing. Asked in the transaction of the reference, the lender answers before it says that it
 * deletes the blob, and so finds the row when it asks what is borrowed; or it has said so, and this throws `unavailable`.
 */
export function checkBorrowed(
  catalog: Catalog,
  lent: { holds(row: BlobRow): boolean } | undefined,
  row: BlobRow | undefined,
): void {
  if (row === undefined || !isBorrowed(row) || row.touched !== neverPut) return;
  if (catalog.refs.any(row.n) || lent?.holds(row) === true) return;
  const id = toHex(row.id);
  throw new StoreError(
    'unavailable',
    `blob ${id} is being borrowed, and no alternate can be relied on for it now; try again`,
    { id },
  );
}

/**
 * The kind that a blob keeps when it is put, as this kind, and stored here. A borrowed node has no references to what it links to: mere
 * bytes in its place would free its lender to delete all below it. `unavailable` while something holds such a node.
 */
export function keptKind(catalog: Catalog, row: BlobRow, kind: number): number {
  if (row.kind <= kind || !isBorrowed(row)) return row.kind;
  if (!catalog.refs.any(row.n)) return kind;
  const id = toHex(row.id);
  throw new StoreError(
    'unavailable',
    `blob ${id} is a borrowed node that something here holds, and no alternate can be relied on for it now: its bytes alone do not take its place, put it as a node`,
    { id },
  );
}
