/** What the store does about damage that reads meet: tells it, remembers it, and heals it from another copy behind the reader's back. */
import type { BlobId, StoreEvents } from './api.ts';
import type { Operation } from './commit/operations.ts';
import type { Crew } from './crew.ts';
import { type ErrorData, StoreError } from './errors.ts';
import { resyncBlob } from './resync.ts';

export interface HealingParts {
  readonly crew: Crew;
  /** Refuses when the store is closed, and makes closing wait. */
  readonly run: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly submit: <Result>(operation: Operation) => Promise<Result>;
  readonly emit: <Name extends keyof StoreEvents>(name: Name, event: StoreEvents[Name]) => void;
  readonly onFailure: (error: unknown) => void;
  /** Has it from an alternate; false when none has it. */
  readonly mend: (id: BlobId) => Promise<boolean>;
  /** The store takes no marks: it is closing, or open for reading only. */
  readonly isSilent: () => boolean;
}

export class Healing {
  readonly #parts: HealingParts;
  readonly #stop = new AbortController();
  /** Blobs being healed: many reads may meet the same damage at once. */
  readonly #ids = new Set<BlobId>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: HealingParts) {
    this.#parts = parts;
    parts.crew.onNote = (note) => this.noteCopy(StoreError.fromData(note as ErrorData));
  }

  /** Damage that a read failed with. */
  note(error: unknown): void {
    const copies = this.#told(error);
    if (copies === undefined || this.#parts.isSilent()) return;
    // The caller has its error already; that the mark could not be set as well changes nothing for it.
    for (const copy of copies) this.#mark(copy).catch((cause: unknown) => this.#parts.onFailure(cause));
  }

  /** Damage of one copy that a read got around: another one was good. */
  noteCopy(error: unknown): void {
    const copies = this.#told(error);
    if (copies === undefined || this.#parts.isSilent()) return;
    for (const copy of copies) {
      if (this.#ids.has(copy.id)) continue;
      this.#ids.add(copy.id);
      // One after the other: reads come first.
      this.#last = this.#last
        .then(() => this.#mark(copy))
        .then(() => this.#heal(copy.id))
        .catch((cause: unknown) => this.#parts.onFailure(cause))
        .finally(() => this.#ids.delete(copy.id));
    }
  }

  /** What is being healed is left as it is; a scrub goes on with it. */
  stop(): void {
    this.#stop.abort();
  }

  #mark(copy: CopyOf): Promise<boolean> {
    return this.#parts.run(() => this.#parts.submit<boolean>({ op: 'suspect', ...copy }));
  }

  async #heal(id: BlobId): Promise<void> {
    const { run, crew, emit, mend } = this.#parts;
    const { blobs } = await run(() => resyncBlob(crew, id, this.#stop.signal));
    if (blobs > 0) emit('healed', { id });
    // A put tells by itself that it healed.
    else await run(() => mend(id));
  }

  /** Tells of it, and says which copies are meant. */
  #told(error: unknown): CopyOf[] | undefined {
    if (!StoreError.is(error, 'corrupt') && !StoreError.is(error, 'tampered')) return undefined;
    const { id, incarnation, volumeNumber, reason, references } = error.facts;
    if (typeof id !== 'string' || typeof incarnation !== 'number' || typeof volumeNumber !== 'number')
      return undefined;
    this.#parts.emit('damage', { id, reason: String(reason), references: Number(references) });
    const copies = [{ id, incarnation, volume: volumeNumber }];
    const { chunk, chunkIncarnation, chunkVolume } = error.facts;
    if (typeof chunk === 'string' && typeof chunkIncarnation === 'number' && typeof chunkVolume === 'number')
      copies.push({ id: chunk, incarnation: chunkIncarnation, volume: chunkVolume });
    return copies;
  }
}

interface CopyOf {
  readonly id: BlobId;
  readonly incarnation: number;
  readonly volume: number;
}
