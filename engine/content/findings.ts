/** What the verification of one range found so far: each copy judged as it is read. */
import type { BlobRow } from '../catalog/blob-rows.ts';
import { type CopyRow, type Place, samePlace } from '../catalog/copy-rows.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { type RecordBytes, commonContent, commonRecordBytes } from '../codec/record.ts';
import { StoreError } from '../errors.ts';
import type { ListedPart } from '../volume.ts';
import type { Ahead } from './ahead.ts';
import { copyOf } from './contents.ts';
import { blaming, damaged, isBarred, isDamage, isUnreadable, mayHaveMoved } from './damage.ts';
import { type Reader, recordOf } from './reader.ts';

export interface FoundDamage {
  readonly id: string;
  readonly incarnation: number;
  /** Number of the volume this copy lies in. */
  readonly volume: number;
  readonly reason: string;
  readonly references: number;
  /** Its id as callers know it; what it is called on disk where that cannot be told. */
  readonly told: string;
  /** It says that it is of an epoch, or of a form, that is not known here. */
  readonly unknown?: true;
}

export interface VerifyResult {
  readonly blobs: number;
  readonly bytes: number;
  readonly damaged: readonly FoundDamage[];
  /** Copies that no row points to and that are not known to be free. */
  readonly orphans: readonly ListedPart[];
  /** Blob numbers whose row checksum does not hold although the bytes they lead to are right. */
  readonly unsoundRows: readonly number[];
  /** Rows of further copies whose checksum does not hold: good for nothing. */
  readonly unsoundCopies: readonly Pick<CopyRow, 'blob' | 'volume'>[];
  /** Numbers of blobs of which nothing can be said: the volume, or the alternate, is away, or the disk cannot read the place. */
  readonly unreachable: readonly number[];
  /** Those of them that the disk cannot read, the first so many. */
  readonly unreadable: readonly FoundDamage[];
  /** Catalog generation before anything was read. */
  readonly generation: number;
  /** Where it was stopped on the way: numbers of the blobs it had verified. */
  readonly reached?: readonly number[];
}

export interface VerifyContext {
  readonly signal: AbortSignal;
  /** Content bytes verified since the last call. */
  progress(blobs: number, bytes: number): void;
}

/** A copy to be verified, as if it were the only one. `further`: it is not the one in the blob's own row. */
export type Copy = BlobRow & { readonly further?: true };

/** Named of a range at most: a disk may fail as a whole. */
const unreadableMax = 1_000;

/** `unreachable`: nothing can be said of it now, and it was not verified. */
type Judged = 'judged' | 'unreachable';

/** What one range gave so far. */
export class Findings {
  readonly orphans: ListedPart[] = [];
  readonly unsoundCopies: Pick<CopyRow, 'blob' | 'volume'>[] = [];
  readonly unreachable: number[] = [];
  readonly #unreadable: FoundDamage[] = [];
  /** Numbers of the blobs that were looked at, good or bad. */
  readonly reached: number[] = [];
  readonly #damaged: FoundDamage[] = [];
  readonly #unsound: number[] = [];
  readonly #reader: Reader;
  readonly #provider: Provider;
  readonly #context: VerifyContext;
  #blobs = 0;
  #bytes = 0;

  constructor(reader: Reader, provider: Provider, context: VerifyContext) {
    this.#reader = reader;
    this.#provider = provider;
    this.#context = context;
  }

  result(): Omit<VerifyResult, 'generation'> {
    return {
      blobs: this.#blobs,
      bytes: this.#bytes,
      damaged: this.#damaged,
      orphans: this.orphans,
      unsoundRows: this.#unsound,
      unsoundCopies: this.unsoundCopies,
      unreachable: this.unreachable,
      unreadable: this.#unreadable,
    };
  }

  missing(row: Copy): void {
    this.#judge(row, () => {
      throw damaged(row, 'its record is missing');
    });
  }

  /** Returns the length of the record, where it is right. */
  record(row: Copy, extent: RecordBytes): number | undefined {
    this.#context.signal.throwIfAborted();
    // What a read found bad is judged by all there is to judge it by.
    const content = row.suspect === 0 ? commonContent(this.#provider, extent, row.start, row) : undefined;
    if (content !== undefined && this.#reader.contents.isItself(row.id, content)) {
      this.#sound(row);
      this.#read(row);
      return commonRecordBytes(row.size);
    }
    let length: number | undefined;
    this.#judge(row, () => {
      const record = blaming(row, () => recordOf(this.#provider, row, extent.bytes.subarray(row.start)));
      blaming(row, () => this.#reader.contents.check(copyOf(row), record.content()));
      ({ length } = record);
    });
    return length;
  }

  /** Chunked, or borrowed: its bytes are those of its chunks, or of another store, and count there. */
  *chunked(row: Copy): Generator<void> {
    try {
      for (const _node of this.#reader.verifyChunked(row)) {
        this.#context.signal.throwIfAborted();
        yield;
      }
      this.#sound(row);
    } catch (error) {
      if (this.#blame(row, error) === 'unreachable') return;
    }
    this.#note(row);
    this.#context.progress(1, 0);
  }

  /** Yields the bytes of each slice read, so that the caller may give others their turn. */
  *file(row: Copy, slice: Uint8Array, ahead: Ahead): Generator<number> {
    try {
      for (const bytes of this.#slices(row, slice, ahead)) {
        this.#bytes += bytes;
        this.#context.progress(0, bytes);
        yield bytes;
      }
      this.#sound(row);
    } catch (error) {
      if ((yield* this.#retryFile(row, error, { slice, ahead })) === 'unreachable') return;
    }
    this.#note(row);
    this.#context.progress(1, 0);
  }

  *#slices(row: Copy, slice: Uint8Array, ahead: Ahead): Generator<number> {
    for (const bytes of this.#reader.verifyCopy(row, slice, ahead)) {
      this.#context.signal.throwIfAborted();
      yield bytes;
    }
  }

  /** Likewise once more, opened anew and read the same way: from the disk, which may have answered wrong once. */
  *#retryFile(
    row: Copy,
    first: unknown,
    { slice, ahead }: { readonly slice: Uint8Array; readonly ahead: Ahead },
  ): Generator<number, Judged> {
    if (!isDamage(first)) return this.#blame(row, first);
    try {
      yield* this.#slices(row, slice, ahead);
      this.#sound(row);
      return 'judged';
    } catch (error) {
      return this.#blame(row, error);
    }
  }

  #judge(row: Copy, check: () => void): void {
    this.#context.signal.throwIfAborted();
    try {
      check();
      this.#sound(row);
    } catch (error) {
      if (this.#retry(row, error) === 'unreachable') return;
    }
    this.#read(row);
  }

  #read(row: Copy): void {
    this.#note(row);
    this.#bytes += row.size;
    this.#context.progress(1, row.size);
  }

  #note(row: Copy): void {
    this.#blobs++;
    this.reached.push(row.n);
  }

  /** Read once more, from the volume itself, before it is judged. */
  #retry(row: Copy, first: unknown): Judged {
    if (!mayHaveMoved(first)) return this.#blame(row, first);
    try {
      const steps = this.#reader.verifyCopy(row);
      while (steps.next().done !== true);
      this.#sound(row);
      return 'judged';
    } catch (error) {
      return this.#blame(row, error);
    }
  }

  #sound(row: Copy): void {
    // Rows of further copies were checked as they were read.
    if (row.further !== true && !this.#reader.rows.holds(row)) this.#unsound.push(row.n);
  }

  /** Whether a copy lies elsewhere by now, or is gone: what was found where it lay is no damage. */
  #left(row: Copy): boolean {
    const fresh = this.#reader.sql
      .rows(
        row.further === true
          ? 'SELECT volume, extent, start, incarnation FROM copies WHERE blob = ? AND volume = ?'
          : 'SELECT volume, extent, start, incarnation FROM blobs WHERE n = ? AND volume = ?',
      )
      .get(row.n, row.volume) as Place | undefined;
    return fresh === undefined || !samePlace(fresh, row);
  }

  /** What cannot be read is no damage, and no reason not to read the rest. */
  #blame(row: Copy, error: unknown): Judged {
    const unknown = this.#isUnknown(error);
    if ((mayHaveMoved(error) || unknown) && this.#left(row)) return 'judged';
    const mirrored = isUnreadable(error) && this.#reader.copies.of(row.n).length > 0;
    if (!mirrored && !isDamage(error) && !unknown) {
      const barred = isBarred(error);
      if (!barred && !StoreError.is(error, 'unavailable')) throw error;
      this.unreachable.push(row.n);
      if ((barred || isUnreadable(error)) && this.#unreadable.length < unreadableMax)
        this.#unreadable.push(this.#found(row, error));
      return 'unreachable';
    }
    const found = this.#found(row, error);
    this.#damaged.push(unknown ? { ...found, unknown } : found);
    return 'judged';
  }

  #found(row: Copy, error: StoreError): FoundDamage {
    const reason = typeof error.facts['reason'] === 'string' ? error.facts['reason'] : error.message;
    const { incarnation, volume, refcount: references } = row;
    return { id: toHex(row.id), incarnation, volume, reason, references, told: this.#told(row) };
  }

  /** In a store of which the keys are here nothing is sealed under others, and in none in a form of the future: what says so was changed. */
  #isUnknown(error: unknown): error is StoreError {
    const { state } = this.#reader.realm;
    if (state === 'open' && StoreError.is(error, 'wrong-key')) return true;
    return state !== 'plain' && StoreError.is(error, 'incompatible-format');
  }

  #told(row: Copy): string {
    try {
      return this.#reader.tell(row);
    } catch (error) {
      if (StoreError.is(error)) return toHex(row.id);
      throw error;
    }
  }
}
