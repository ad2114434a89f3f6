/** Verification on a worker thread: every stored copy of a range of a volume against the catalog, and the catalog against the copies. */
import { type BlobRow, noVolume, partNameOf } from '../catalog/blob-rows.ts';
import { readState } from '../catalog/catalog.ts';
import { copyAt } from '../catalog/copy-rows.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { type RecordBytes, type RecordView, readRecord } from '../codec/record.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Clock } from '../host.ts';
import { partFile } from '../volumes/directory.ts';
import { Ahead } from './ahead.ts';
import { sliceBytes } from './contents.ts';
import { mayHaveMoved } from './damage.ts';
import { type Copy, Findings, type VerifyContext, type VerifyResult } from './findings.ts';
import { Goal, type GoalOrder } from './goal.ts';
import type { PaceOrder } from './pace.ts';
import type { Reader } from './reader.ts';
import { type VerifyRange, oldestExtent } from './scrub-facts.ts';
import { Turns } from './turns.ts';

/** A range, how fast, and when what is left of it may wait. */
export interface VerifyOrder extends VerifyRange {
  readonly pace?: PaceOrder;
  readonly goal?: GoalOrder;
  /** Memory of the foreground it gives way to. */
  readonly foreground?: SharedArrayBuffer;
}

/** Extents whose rows are looked up together, two megabytes: those of a whole range would outlive the garbage collector's young space. */
const extentsAtOnce = 32;
/** Fewer where extents have so many rows: about two milliseconds of looking up. */
const rowsAtOnce = 256;

interface AgedCopy {
  readonly row: Copy;
  /** Since when it waits. */
  readonly at: number;
}

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
    const { pace, goal: wanted, foreground, ...range } = order;
    const goal = wanted && new Goal(wanted);
    const run = new Findings(this.#reader, this.#provider, {
      signal: context.signal,
      progress(blobs, bytes) {
        goal?.add(bytes);
        context.progress(blobs, bytes);
      },
    });
    if (range.volume !== noVolume && !this.#isThere(range)) return { ...run.result(), generation };
    const turns = new Turns(this.#clock, { pace, foreground }, context.signal);
    try {
      if (range.volume === noVolume) await this.#chunked(this.#oldestFirst(this.#copies(range, run)), run);
      else if (this.#reader.places.isDirectory(range.volume))
        await this.#files({ range, turns, goal }, this.#oldestFirst(this.#copies(range, run)), run);
      else await this.#around({ range, turns }, run);
      await turns.end();
    } catch (error) {
      if (!(error instanceof Enough) && (!context.signal.aborted || StoreError.is(error))) throw error;
      // Orphans are for who looked at the whole range.
      return { ...run.result(), orphans: [], generation, reached: run.reached };
    }
    return { ...run.result(), generation };
  }

  /** First copies and further ones, by place. */
  #copies(range: VerifyRange, run: Findings): Copy[] {
    const { sql, copies } = this.#reader;
    const { volume, fromExtent, toExtent } = range;
    const first: Copy[] = this.#reader.rows.placed(volume, fromExtent, toExtent);
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
  async #around({ range, turns }: Passing, run: Findings): Promise<void> {
    const first = oldestExtent(this.#reader.sql, range) ?? range.fromExtent;
    const parts = [
      { ...range, fromExtent: first },
      { ...range, toExtent: first - 1 },
    ];
    let count = 1;
    for (const { fromExtent, toExtent } of parts)
      for (let from = fromExtent; from <= toExtent;) {
        const part = { ...range, fromExtent: from, toExtent: Math.min(toExtent, from + count - 1) };
        const rows = this.#copies(part, run);
        await this.#extents({ range: part, turns }, rows, run);
        from += count;
        if (rows.length > rowsAtOnce) count = Math.max(1, count >> 1);
        else if (rows.length <= rowsAtOnce >> 1) count = Math.min(extentsAtOnce, 2 * count);
      }
  }

  async #chunked(rows: readonly AgedCopy[], run: Findings): Promise<void> {
    for (const { row } of rows) for (const _node of run.chunked(row)) await this.#clock.yield();
  }

  /** A folder of large files is worth hours, so it is left in the middle; extents are read as a whole. */
  async #files({ range, turns, goal }: Passing, rows: readonly AgedCopy[], run: Findings): Promise<void> {
    const ahead = new Ahead();
    const slice = new Uint8Array(rows.length === 0 ? 0 : sliceBytes + this.#reader.chunkBytes);
    for (const { row, at } of rows) {
      if (goal?.isReached(at) === true) throw new Enough();
      for (const bytes of run.file(row, slice, ahead)) {
        await turns.after(bytes);
        await ahead.ready();
      }
    }
    if (!this.#isThere(range)) return;
    const known = new Set(rows.map(({ row }) => partFile(partNameOf(row))));
    const { volume, fromExtent, toExtent } = range;
    try {
      for (const part of this.#reader.places.directory(volume).parts(fromExtent, toExtent))
        if (part.name !== undefined && !known.has(partFile(part.name))) run.orphans.push(part);
    } catch (error) {
      // It is away, which was found of each of its blobs.
      if (!StoreError.is(error, 'unavailable')) throw error;
    }
  }

  async #extents({ range, turns }: Passing, rows: readonly Copy[], run: Findings): Promise<void> {
    const freed = this.#freed(range);
    let next = 0;
    try {
      const { volume, fromExtent, toExtent } = range;
      for (const { extent, data } of this.#reader.places.extents(volume, fromExtent, toExtent)) {
        while (next < rows.length && rows[next]!.extent < extent) run.missing(rows[next++]!);
        const records = recordBytes(data);
        const known = freed.get(extent) ?? new Map<number, number | undefined>();
        for (; next < rows.length && rows[next]!.extent === extent; next++)
          known.set(rows[next]!.start, run.record(rows[next]!, records));
        this.#unknown({ extent, data }, known, run);
        const { length } = data;
        letGo(data);
        await turns.after(length);
      }
    } catch (error) {
      // The volume itself is damaged, or was emptied and removed, which SQLite may take for a failing disk; each row that is left is read
      // for itself.
      if (!mayHaveMoved(toStoreError(error, `reading volume ${range.volume}`))) throw error;
    }
    while (next < rows.length) run.missing(rows[next++]!);
  }

  /** Records that no row points to. `known`: where those lie that have one or are free, and their length where it is known. */
  #unknown(
    { extent, data }: { readonly extent: number; readonly data: Uint8Array },
    known: ReadonlyMap<number, number | undefined>,
    run: Findings,
  ): void {
    for (let at = 0; at < data.length;) {
      let length = known.get(at);
      if (length === undefined) {
        let record: RecordView;
        try {
          record = readRecord(this.#provider, data, at);
        } catch (error) {
          if (!StoreError.is(error)) throw error;
          return; // the rows behind it were verified by their own places
        }
        ({ length } = record);
        if (!known.has(at)) {
          const { head } = record;
          const name = { id: toHex(head.id), incarnation: head.incarnation };
          run.orphans.push({ name, kind: head.kind, locator: { extent, offset: at, length } });
        }
      }
      at += length;
    }
  }

  /** Not any more where it was collected, or emptied and removed, since the scrub began. */
  #isThere({ volume }: VerifyRange): boolean {
    return (
      this.#reader.sql.values(`SELECT 1 FROM volumes WHERE n = ? AND state != 'dropped'`).get(volume) !==
      undefined
    );
  }

  /** Where free records begin, by extent. That they are as long as their row says is not relied on. */
  #freed(range: VerifyRange): Map<number, Map<number, number | undefined>> {
    const rows = this.#reader.sql
      .arrays('SELECT extent, start FROM freed WHERE volume = ? AND extent BETWEEN ? AND ?')
      .all(range.volume, range.fromExtent, range.toExtent) as [number, number][];
    const freed = new Map<number, Map<number, number | undefined>>();
    for (const [extent, start] of rows) {
      const starts = freed.get(extent);
      if (starts === undefined) freed.set(extent, new Map([[start, undefined]]));
      else starts.set(start, undefined);
    }
    return freed;
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

function recordBytes({ buffer, byteOffset, byteLength }: Uint8Array): RecordBytes {
  // No Buffer: its parts cost twice what those of an array do.
  return {
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    view: new DataView(buffer, byteOffset, byteLength),
  };
}

/** Gives memory back that nobody looks at any more: until the garbage collector comes, a hundred megabytes would gather. */
function letGo(bytes: Uint8Array): void {
  const { buffer, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
