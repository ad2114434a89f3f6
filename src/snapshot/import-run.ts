/** What all parts of one import share: the store, the report, turns, the window of puts, and what ended it. */
import type { Store } from '../../engine/index.ts';
import type { ImportCache } from './import-cache.ts';
import type { ImportReport } from './import-report.ts';
import { Turns, Window } from './pacing.ts';

/** Puts in flight: enough to fill group commits, few enough to forget about: twice what one commit takes. */
const putsMax = 2048;

export interface RunParts {
  readonly store: Store;
  readonly cache: ImportCache;
  readonly report: ImportReport;
  /** dev and ino of the store's own folder, as in a listing's record. */
  readonly ownFolder: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

export class ImportRun {
  readonly store: Store;
  readonly cache: ImportCache;
  readonly report: ImportReport;
  readonly ownFolder: Uint8Array;
  readonly signal: AbortSignal | undefined;
  readonly turns: Turns = new Turns();
  readonly puts: Window = new Window(putsMax);
  #ended: { readonly by: unknown } | undefined;

  constructor(parts: RunParts) {
    this.store = parts.store;
    this.cache = parts.cache;
    this.report = parts.report;
    this.ownFolder = parts.ownFolder;
    this.signal = parts.signal;
  }

  /** Ends the import; the first error is the one that is told. */
  fail(error: unknown): void {
    this.#ended ??= { by: error };
  }

  /** Throws what ended the import, when something did. */
  check(): void {
    if (this.#ended !== undefined) throw this.#ended.by;
    this.signal?.throwIfAborted();
  }

  /** Lets others have their turn when it is time. */
  rest(): Promise<void> | undefined {
    return this.turns.due ? this.turns.rest() : undefined;
  }
}
