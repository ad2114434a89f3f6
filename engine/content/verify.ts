/** Verification on a worker thread: every stored copy of a range of a volume against the catalog, and the catalog against the copies. */
import { type BlobRow, isBorrowed, noVolume, partNameOf } from '../catalog/blob-rows.ts';
import { readState } from '../catalog/catalog.ts';
import { type CopyRow, type Place, copyAt, samePlace } from '../catalog/copy-rows.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { readExtent } from '../codec/record.ts';
import { StoreError } from '../errors.ts';
import type { Clock } from '../host.ts';
import type { ListedPart } from '../volume.ts';
import { partFile } from '../volumes/directory.ts';
import { copyOf } from './contents.ts';
import { blaming, damaged, isDamage, isUnreadable, mayHaveMoved } from './damage.ts';
import { Goal, type GoalOrder } from './goal.ts';
import type { PaceOrder } from './pace.ts';
import { type Reader, recordContent } from './reader.ts';
import { Turns } from './turns.ts';

export interface VerifyRange {
  readonly volume: number;
  readonly fromExtent: number;
  readonly toExtent: number;
}

/** A range, how fast, and when what is left of it may wait. */
export interface VerifyOrder extends VerifyRange {
  readonly pace?: PaceOrder;
  readonly goal?: GoalOrder;
}

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
  /** Numbers of borrowed blobs of which nothing can be said: an alternate is away. */
  readonly unreachable: readonly number[];
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
type Copy = BlobRow & { readonly further?: true };

interface AgedCopy {
  readonly row: Copy;
  /** Since when it waits. */
  readonly at: number;
}

const sliceBytes = 1024 * 1024;

export class Verifier {
  readonly #reader: Reader;
  readonly #provider: Provider;
  readonly #clock: Clock;

  constructor(reader: Reader, provider: Provider, clock: Clock) {
    this.#reader = reader;
    this.#provider = provider;
    this.#clock = clock;
  }

  /** When the signal aborts it ends with what it has: that counts. */
  async verify(order: VerifyOrder, context: VerifyContext): Promise<VerifyResult> {
    const { generation } = readState(this.#reader.sql);
    const { pace, goal: wanted, ...range } = order;
    const goal = wanted && new Goal(wanted);
    const run = new Run(this.#reader, this.#provider, {
      signal: context.signal,
      progress(blobs, bytes) {
        goal?.add(bytes);
        context.progress(blobs, bytes);
      },
    });
    if (range.volume !== noVolume && !this.#isThere(range)) return { ...run.result(), generation };
    const rows = this.#copies(range, run);
    const turns = new Turns(this.#clock, pace, context.signal);
    try {
      if (range.volume === noVolume) await this.#chunked(this.#oldestFirst(rows), run);
      else if (this.#reader.places.isDirectory(range.volume))
        await this.#files({ range, turns, goal }, this.#oldestFirst(rows), run);
      else await this.#around({ range, turns }, rows, run);
      await turns.end();
    } catch (error) {
      if (!(error instanceof Enough) && (!context.signal.aborted || StoreError.is(error))) throw error;
      // Orphans are for who looked at the whole range.
      return { ...run.result(), orphans: [], generation, reached: run.reached };
    }
    return { ...run.result(), generation };
  }

  /** First copies and further ones, by place. */
  #copies(range: VerifyRange, run: Run): Copy[] {
    const { sql, copies } = this.#reader;
    const { volume, fromExtent, toExtent } = range;
    const first = sql
      .rows('SELECT * FROM blobs WHERE volume = ? AND extent BETWEEN ? AND ? ORDER BY extent, start')
      .all(volume, fromExtent, toExtent) as Copy[];
    const { sound, unsound } = copies.within(volume, fromExtent, toExtent);
    run.unsoundCopies.push(...unsound.map(({ blob }) => ({ blob, volume })));
    if (sound.length === 0) return first;
    const byNumber = sql.rows('SELECT * FROM blobs WHERE n = ?');
    const further = sound.flatMap((copy): Copy[] => {
      const row = byNumber.get(copy.blob) as BlobRow | undefined;
      return row === undefined ? [] : [{ ...copyAt(row, copy), further: true }];
    });
    return [...first, ...further].toSorted((a, b) => a.extent - b.extent || a.start - b.start);
  }

  /** A scrub that was stopped within a range must not begin with the same copies again. */
  #oldestFirst(rows: readonly Copy[]): AgedCopy[] {
    const verified = this.#reader.sql.values('SELECT at FROM verified WHERE blob = ? AND volume = ?');
    const since = rows.map((row) => ({
      row,
      at: (verified.get(row.n, row.volume) as number | undefined) ?? row.created,
    }));
    return since.toSorted((a, b) => a.at - b.at);
  }

  /** Likewise, reading extents in their order: from the one with the copy that waits longest to the end, then those before it. */
  async #around({ range, turns }: Passing, rows: readonly Copy[], run: Run): Promise<void> {
    const first = this.#oldestFirst(rows)[0]?.row.extent ?? range.fromExtent;
    const parts = [
      { ...range, fromExtent: first },
      { ...range, toExtent: first - 1 },
    ];
    for (const part of parts) {
      if (part.fromExtent > part.toExtent) continue;
      const within = rows.filter(({ extent }) => extent >= part.fromExtent && extent <= part.toExtent);
      await this.#extents({ range: part, turns }, within, run);
    }
  }

  async #chunked(rows: readonly AgedCopy[], run: Run): Promise<void> {
    for (const { row } of rows) for (const _node of run.chunked(row)) await this.#clock.yield();
  }

  /** A folder of large files is worth hours, so it is left in the middle; extents are read as a whole. */
  async #files({ range, turns, goal }: Passing, rows: readonly AgedCopy[], run: Run): Promise<void> {
    const slice = new Uint8Array(rows.length === 0 ? 0 : sliceBytes + this.#reader.chunkBytes);
    for (const { row, at } of rows) {
      if (goal?.isReached(at) === true) throw new Enough();
      for (const bytes of run.file(row, slice)) await turns.after(bytes);
    }
    if (!this.#isThere(range)) return;
    const known = new Set(rows.map(({ row }) => partFile(partNameOf(row))));
    for (const part of this.#reader.places.directory(range.volume).parts(range.fromExtent, range.toExtent)) {
      if (part.name !== undefined && !known.has(partFile(part.name))) run.orphans.push(part);
    }
  }

  async #extents({ range, turns }: Passing, rows: readonly Copy[], run: Run): Promise<void> {
    const freed = this.#freed(range);
    let next = 0;
    try {
      for (const { extent, data } of this.#reader.places
        .sqlite(range.volume)
        .extents(range.fromExtent, range.toExtent)) {
        while (next < rows.length && rows[next]!.extent < extent) run.missing(rows[next++]!);
        const starts = new Set<number>();
        for (; next < rows.length && rows[next]!.extent === extent; next++) {
          starts.add(rows[next]!.start);
          run.record(rows[next]!, data);
        }
        for (const found of readExtent(this.#provider, data)) {
          if (starts.has(found.at) || freed.has(`${extent}.${found.at}`)) continue;
          if ('damage' in found) break; // the rows behind it were verified by their own places
          const { head, length } = found.record;
          run.orphans.push({
            name: { id: toHex(head.id), incarnation: head.incarnation },
            kind: head.kind,
            locator: { extent, offset: found.at, length },
          });
        }
        await turns.after(data.length);
      }
    } catch (error) {
      // The volume itself is damaged, or was emptied and removed; each row that is left is read for itself.
      if (!mayHaveMoved(error)) throw error;
    }
    while (next < rows.length) run.missing(rows[next++]!);
  }

  /** Not any more where it was collected, or emptied and removed, since the scrub began. */
  #isThere({ volume }: VerifyRange): boolean {
    return (
      this.#reader.sql.values(`SELECT 1 FROM volumes WHERE n = ? AND state != 'dropped'`).get(volume) !==
      undefined
    );
  }

  #freed(range: VerifyRange): Set<string> {
    const rows = this.#reader.sql
      .arrays('SELECT extent, start FROM freed WHERE volume = ? AND extent BETWEEN ? AND ?')
      .all(range.volume, range.fromExtent, range.toExtent) as [number, number][];
    return new Set(rows.map(([extent, start]) => `${extent}.${start}`));
  }
}

/** A range while it is read. */
interface Passing {
  readonly range: VerifyRange;
  readonly turns: Turns;
  readonly goal?: Goal | undefined;
}

/** What is left of the range may wait. */
class Enough extends Error {}

/** What one range gave so far. */
class Run {
  readonly orphans: ListedPart[] = [];
  readonly unsoundCopies: Pick<CopyRow, 'blob' | 'volume'>[] = [];
  /** Numbers of borrowed blobs of which nothing can be said: an alternate is away. */
  readonly unreachable: number[] = [];
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
    };
  }

  missing(row: Copy): void {
    this.#judge(row, () => {
      throw damaged(row, 'its record is missing');
    });
  }

  record(row: Copy, extent: Uint8Array): void {
    this.#judge(row, () => {
      const stored = recordContent(this.#provider, row, extent.subarray(row.start));
      blaming(row, () => this.#reader.contents.check(copyOf(row), stored));
    });
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
      if (isBorrowed(row) && StoreError.is(error, 'unavailable')) return void this.unreachable.push(row.n);
      this.#blame(row, error);
    }
    this.#note(row);
    this.#context.progress(1, 0);
  }

  /** Yields the bytes of each slice read, so that the caller may give others their turn. */
  *file(row: Copy, slice: Uint8Array): Generator<number> {
    try {
      for (const bytes of this.#reader.verifyCopy(row, slice)) {
        this.#context.signal.throwIfAborted();
        this.#bytes += bytes;
        this.#context.progress(0, bytes);
        yield bytes;
      }
      this.#sound(row);
    } catch (error) {
      this.#blame(row, error);
    }
    this.#note(row);
    this.#context.progress(1, 0);
  }

  #judge(row: Copy, check: () => void): void {
    this.#context.signal.throwIfAborted();
    try {
      check();
      this.#sound(row);
    } catch (error) {
      this.#retry(row, error);
    }
    this.#note(row);
    this.#bytes += row.size;
    this.#context.progress(1, row.size);
  }

  #note(row: Copy): void {
    this.#blobs++;
    this.reached.push(row.n);
  }

  /** Read once more, from the volume itself, before it is judged. */
  #retry(row: Copy, first: unknown): void {
    if (!mayHaveMoved(first)) return this.#blame(row, first);
    try {
      const steps = this.#reader.verifyCopy(row);
      while (steps.next().done !== true);
      this.#sound(row);
    } catch (error) {
      this.#blame(row, error);
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

  #blame(row: Copy, error: unknown): void {
    const unknown = this.#isUnknown(error);
    if ((mayHaveMoved(error) || unknown) && this.#left(row)) return;
    const mirrored = isUnreadable(error) && this.#reader.copies.of(row.n).length > 0;
    if (!mirrored && !isDamage(error) && !unknown) throw error;
    const reason = typeof error.facts['reason'] === 'string' ? error.facts['reason'] : error.message;
    const { incarnation, volume, refcount: references } = row;
    const found = { id: toHex(row.id), incarnation, volume, reason, references, told: this.#told(row) };
    this.#damaged.push(unknown ? { ...found, unknown } : found);
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
