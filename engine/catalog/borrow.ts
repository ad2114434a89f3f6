/** What a store remembers of a blob it borrows from an alternate: a row in its catalog, and a record in its root log. */
import type { BlobRow } from './blob-rows.ts';
import { noVolume, storedForms } from './blob-rows.ts';
import { StoreError } from '../errors.ts';

/** What is borrowed: enough to make the row again from the log alone. */
export interface Borrow {
  /** 1: a node, whose links are the lender's matter. */
  readonly kind: number;
  /** Bytes of its content. */
  readonly size: number;
  /** Id of the store it was found in. It may be read from any other alternate. */
  readonly lender: string;
}

/** In `touched`: somebody is about to put or refer to it, and may still take it back. */
export const neverPut = 0;

/** The row of a borrowed blob: no bytes here, and in the fan-out of its id, so that a scrub goes through them in parts. */
export function borrowedRow(
  id: Uint8Array,
  { kind, size }: Pick<Borrow, 'kind' | 'size'>,
): Pick<
  BlobRow,
  'id' | 'kind' | 'codec' | 'size' | 'stored' | 'volume' | 'extent' | 'start' | 'incarnation' | 'label'
> {
  return {
    id,
    kind,
    codec: storedForms.borrowed,
    size,
    stored: 0,
    volume: noVolume,
    extent: id[0]!,
    start: 0,
    incarnation: 0,
    label: null,
  };
}

/** The name field of the record in the root log. */
export function encodeBorrow({ kind, size, lender }: Borrow): string {
  return `${kind === 1 ? 'node' : 'raw'} ${size} ${lender}`;
}

/** `corrupt` when it is none. */
export function decodeBorrow(text: string): Borrow {
  const [, kind, size, lender] = /^(raw|node) ([0-9]{1,16}) ([0-9a-f]{32})$/.exec(text) ?? [];
  if (lender === undefined) throw new StoreError('corrupt', 'a record of roots.log tells no borrowed blob');
  return { kind: kind === 'node' ? 1 : 0, size: Number(size), lender };
}
