/** What may be borrowed from the alternates of a store: asked by the thread that commits, before it writes that it was. */
import type { Borrow } from '../catalog/borrow.ts';
import { type BlobRow, isBorrowed, isChunked, partNameOf } from '../catalog/blob-rows.ts';
import { lendingVersion } from '../catalog/schema.ts';
import { fromHex } from '../codec/bytes.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Alternates, Lender, Link } from './alternates.ts';

export class Lending {
  readonly #alternates: Alternates;
  #on = true;
  #chain: readonly Link[] = [];
  /** What was answered since the last look: the lender changes under our hands, and a commit must not be told two things. */
  readonly #held = new Map<number, boolean>();
  /** Likewise of who was told. */
  readonly #told = new Map<Lender, boolean>();

  constructor(alternates: Alternates) {
    this.#alternates = alternates;
  }

  /** False while everything borrowed is copied in: then nothing is borrowed anew. */
  set on(on: boolean) {
    this.#on = on;
  }

  /** Looks which alternates there are now: the answers below are theirs, until the thread does something else. */
  look(): boolean {
    this.#held.clear();
    this.#told.clear();
    this.#chain = this.#on && this.#alternates.any ? this.#alternates.chain() : [];
    return this.#chain.length > 0;
  }

  /** Registers with the alternate, durably, before it answers. */
  lend(id: Uint8Array, kind: number): Borrow | undefined {
    for (const { lender } of this.#chain) {
      const row = lender && this.#lent(lender, id, kind);
      if (row !== undefined) return { kind: row.kind, size: row.size, lender: lender!.registration.storeId };
    }
    return undefined;
  }

  /** Any that has it is told, durably, if it was not: the blob need not have been borrowed from that one. */
  stillLends(id: Uint8Array, kind: number): boolean {
    return this.lendsIn(this.#chain, id, kind);
  }

  /** The same of other alternates than those of the last look. */
  lendsIn(chain: readonly Link[], id: Uint8Array, kind: number): boolean {
    return chain.some(({ lender }) => lender && this.#lent(lender, id, kind) !== undefined);
  }

  /** Whether a borrowed blob can be relied on now, so that a put of it needs no bytes. */
  holds(row: BlobRow): boolean {
    let held = this.#held.get(row.n);
    if (held === undefined) this.#held.set(row.n, (held = this.stillLends(row.id, row.kind)));
    return held;
  }

  /** Why nothing can be said of ids that are not here: an alternate is away. Absent where all were asked. */
  doubt(ids: readonly string[]): StoreError | undefined {
    try {
      this.#alternates.has(ids.map((id) => fromHex(id)!));
      return undefined;
    } catch (error) {
      if (StoreError.is(error, 'unavailable')) return error;
      throw error;
    }
  }

  /** Told first, and only then looked at: whoever collects there says what is to go, and asks after that who was told. */
  #lent(lender: Lender, id: Uint8Array, kind: number): BlobRow | undefined {
    return hasRow(lender, id, kind) && this.#isTold(lender) ? lentRow(lender, id, kind) : undefined;
  }

  /** One that cannot be told is read, and not borrowed from. */
  #isTold(lender: Lender): boolean {
    let told = this.#told.get(lender);
    if (told === undefined) this.#told.set(lender, (told = this.#tell(lender)));
    return told;
  }

  #tell(lender: Lender): boolean {
    try {
      this.#alternates.register(lender);
      return true;
    } catch (error) {
      if (StoreError.is(error)) return false;
      throw error;
    }
  }
}

function isLendable(row: BlobRow, kind: number): boolean {
  return row.suspect === 0 && row.kind >= kind && !isBorrowed(row);
}

/** Nobody is told who has nothing to lend. */
function hasRow({ reader }: Lender, id: Uint8Array, kind: number): boolean {
  try {
    const row = reader.rows.byId(id);
    return row !== undefined && isLendable(row, kind);
  } catch (error) {
    if (StoreError.is(toStoreError(error, 'looking for it'))) return false;
    throw error;
  }
}

/** The row in the lender: live, believed to be good, its bytes in their place as far as names and sizes tell, and not about to be deleted. */
function lentRow({ reader, version }: Lender, id: Uint8Array, kind: number): BlobRow | undefined {
  try {
    const row = reader.rows.byId(id);
    if (row === undefined || !isLendable(row, kind)) return undefined;
    const dying =
      version < lendingVersion
        ? undefined
        : reader.sql.values('SELECT 1 FROM dying WHERE blob IN (0, ?) LIMIT 1').get(row.n);
    if (dying !== undefined) return undefined;
    if (isChunked(row)) for (const _node of reader.verifyChunked(row));
    else if (!reader.places.isDirectory(row.volume)) reader.places.sqlite(row.volume);
    else if (reader.places.directory(row.volume).size(partNameOf(row)) !== row.stored) return undefined;
    return row;
  } catch (error) {
    // In doubt it is stored here.
    if (StoreError.is(toStoreError(error, 'looking for it'))) return undefined;
    throw error;
  }
}
