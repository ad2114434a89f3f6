/** Copies the file of a large blob to another directory volume, on a worker thread: byte for byte, and the copy is what is verified. */
import { type BlobRow, partNameOf } from '../catalog/blob-rows.ts';
import { samePlace } from '../catalog/copy-rows.ts';
import { type StoreError, systemCode, writeError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';
import { partFile } from '../volumes/directory.ts';
import { isFramed } from './blob-file.ts';
import { copyOf } from './contents.ts';
import { blaming, damaged, isDamage, mayHaveMoved } from './damage.ts';
import type { Reader } from './reader.ts';

/** A file on its way: from one volume to another, as a new incarnation. */
export interface FileMove {
  /** Number of the blob. */
  readonly n: number;
  readonly id: string;
  readonly framed: boolean;
  /** Incarnation of the copy that is there. */
  readonly old: number;
  readonly incarnation: number;
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
  readonly intent: number;
}

/** `gone`: the blob was collected, healed or moved meanwhile. `damaged`: why it was not moved; nothing was left behind. */
export type MoveOutcome = { readonly copied: true } | { readonly gone: true } | { readonly damaged: string };

/** What is copied: fills the slice with what lies from a position on, and says how much that was. */
interface Source {
  readonly signal: AbortSignal;
  readonly read: (slice: Uint8Array, at: number) => number;
}

const sliceBytes = 1024 * 1024;
const slicesPerTurn = 4;

export class Mover {
  readonly #reader: Reader;
  readonly #host: Host;
  readonly #lease: string;

  constructor(reader: Reader, parts: { readonly host: Host; readonly lease: string }) {
    this.#reader = reader;
    this.#host = parts.host;
    this.#lease = parts.lease;
  }

  async move(move: FileMove, signal: AbortSignal): Promise<MoveOutcome> {
    const { row, all, meant } = this.#find(move);
    if (row === undefined || meant === undefined) return { gone: true };
    let failure: StoreError | undefined;
    const bad: { readonly copy: BlobRow; readonly error: StoreError }[] = [];
    // Any copy does, the one meant first.
    for (const copy of [meant, ...all.filter((one) => one !== meant)]) {
      try {
        await this.#from(copy, move, signal);
        // Not of a place that the blob has left meanwhile.
        const inUse = bad.length === 0 ? [] : this.#find(move).all;
        for (const { copy: one, error } of bad)
          if (inUse.some((other) => samePlace(one, other))) this.#reader.passedOver(error);
        return { copied: true };
      } catch (error) {
        if (!mayHaveMoved(error)) throw error;
        const told = error as StoreError;
        if (isDamage(told)) bad.push({ copy, error: damaged(copy, reasonOf(told)) });
        if (failure === undefined || told.code === 'unavailable') failure = told;
      }
    }
    // Another process may have collected it, or moved it itself: what was found where it lay is no damage.
    if (this.#find(move).meant === undefined) return { gone: true };
    if (!isDamage(failure)) throw failure!;
    // Each is damaged somewhere, and maybe not in the same place: what is right of each makes a whole one.
    if (all.length > 1 && !isFramed(row) && (await this.#assemble(row, move, signal)))
      return { copied: true };
    return { damaged: reasonOf(failure) };
  }

  /** The blob, its copies, and that of them which is to be moved. */
  #find(move: FileMove): {
    readonly row?: BlobRow;
    readonly all: readonly BlobRow[];
    readonly meant?: BlobRow;
  } {
    const row = this.#reader.rows.byNumber(move.n);
    if (row === undefined) return { all: [] };
    const all = [row, ...this.#reader.copiesOf(row)];
    const meant = all.find(({ volume, incarnation }) => volume === move.from && incarnation === move.old);
    return { row, all, ...(meant === undefined ? {} : { meant }) };
  }

  async #from(copy: BlobRow, move: FileMove, signal: AbortSignal): Promise<void> {
    const source = this.#reader.partFile(copy);
    try {
      await this.#copy(copy, move, { signal, read: (slice, at) => source.read(slice, at) });
    } finally {
      source.close();
    }
  }

  /** Of files that are the content: a frame cannot be put together from its content. */
  async #assemble(row: BlobRow, move: FileMove, signal: AbortSignal): Promise<boolean> {
    try {
      const source = this.#reader.openFile(row);
      const read = (slice: Uint8Array, at: number): number => {
        const bytes = source.read(Math.min(at, row.size), Math.min(row.size, at + slice.length));
        slice.set(bytes);
        return bytes.length;
      };
      try {
        await this.#copy(row, move, { signal, read });
        return true;
      } finally {
        source.close();
      }
    } catch (error) {
      if (mayHaveMoved(error)) return false;
      throw error;
    }
  }

  /** Written, verified by its chunk checksums and its id, then durable and named, in this order. */
  async #copy(row: BlobRow, move: FileMove, { signal, read }: Source): Promise<void> {
    const place = this.#reader.places.stagingIn(move.to, this.#lease);
    const name = { ...partNameOf(row), incarnation: move.incarnation };
    const temp = this.#host.files.join(place.temps, partFile(name));
    const copy = writing(() => this.#host.files.open(temp, 'create'));
    try {
      await this.#fill({ signal, read }, copy);
      // As the copy it will be: what is known of the frame of another one must not stand in for this one's.
      await this.#verify({ ...row, incarnation: move.incarnation }, copy, signal);
      writing(() => place.directory.publish(copy, temp, name));
    } catch (error) {
      copy.close();
      this.#remove(temp);
      throw error;
    }
  }

  async #fill({ signal, read }: Source, copy: OpenFile): Promise<void> {
    const slice = new Uint8Array(sliceBytes);
    for (let at = 0, turn = 1; ; turn++) {
      signal.throwIfAborted();
      const count = read(slice, at);
      if (count === 0) return;
      writing(() => copy.write(slice.subarray(0, count), at));
      at += count;
      if (turn % slicesPerTurn === 0) await this.#host.clock.yield();
    }
  }

  async #verify(row: BlobRow, copy: OpenFile, signal: AbortSignal): Promise<void> {
    const scratch = new Uint8Array(sliceBytes + this.#reader.chunkBytes);
    const blob = this.#reader.blobFile(row, copy);
    blob.verifyRest?.();
    const steps = this.#reader.contents.verify(copyOf(row), blob, scratch);
    for (let turn = 1; ; turn++) {
      signal.throwIfAborted();
      if (blaming(row, () => steps.next()).done === true) return;
      if (turn % slicesPerTurn === 0) await this.#host.clock.yield();
    }
  }

  #remove(temp: string): void {
    try {
      this.#host.files.removeFile(temp);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
}

function reasonOf(error: StoreError): string {
  const { reason } = error.facts;
  return typeof reason === 'string' ? reason : error.message;
}

function writing<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw writeError(error, 'copying a file to another volume');
  }
}
