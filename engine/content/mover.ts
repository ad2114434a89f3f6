/** Copies the file of a large blob to another directory volume, on a worker thread: byte for byte, and the copy is what is verified. */
import { type BlobRow, partNameOf } from '../catalog/blob-rows.ts';
import { systemCode, writeError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';
import { partFile } from '../volumes/directory.ts';
import { copyOf } from './contents.ts';
import { blaming, isDamage } from './damage.ts';
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
    const row = this.#reader.rows.byNumber(move.n);
    if (row === undefined || row.volume !== move.from || row.incarnation !== move.old) return { gone: true };
    try {
      const source = this.#reader.partFile(row);
      try {
        await this.#copy(row, move, source, signal);
      } finally {
        source.close();
      }
      return { copied: true };
    } catch (error) {
      if (!isDamage(error)) throw error;
      return { damaged: typeof error.facts['reason'] === 'string' ? error.facts['reason'] : error.message };
    }
  }

  /** Written, verified by its chunk checksums and its id, then durable and named, in this order. */
  async #copy(row: BlobRow, move: FileMove, source: OpenFile, signal: AbortSignal): Promise<void> {
    const place = this.#reader.places.stagingIn(move.to, this.#lease);
    const name = { ...partNameOf(row), incarnation: move.incarnation };
    const temp = this.#host.files.join(place.temps, partFile(name));
    const copy = writing(() => this.#host.files.open(temp, 'create'));
    try {
      await this.#fill(source, copy, signal);
      await this.#verify(row, copy, signal);
      writing(() => place.directory.publish(copy, temp, name));
    } catch (error) {
      copy.close();
      this.#remove(temp);
      throw error;
    }
  }

  async #fill(source: OpenFile, copy: OpenFile, signal: AbortSignal): Promise<void> {
    const slice = new Uint8Array(sliceBytes);
    for (let at = 0, turn = 1; ; turn++) {
      signal.throwIfAborted();
      const count = source.read(slice, at);
      if (count === 0) return;
      writing(() => copy.write(slice.subarray(0, count), at));
      at += count;
      if (turn % slicesPerTurn === 0) await this.#host.clock.yield();
    }
  }

  async #verify(row: BlobRow, copy: OpenFile, signal: AbortSignal): Promise<void> {
    const scratch = new Uint8Array(sliceBytes + this.#reader.chunkBytes);
    const blob = this.#reader.blobFile(row, copy);
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

function writing<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw writeError(error, 'copying a file to another volume');
  }
}
