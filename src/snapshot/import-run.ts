/** What all parts of one import share: the store, the report, turns, the window of puts, and what ended it. */
import type { Store } from '../../engine/index.ts';
import type { BuiltNode } from '../../sync/tree/builder.ts';
import type { ImportCache } from './import-cache.ts';
import type { ImportReport } from './import-report.ts';
import { Turns, Window } from './pacing.ts';

/** Puts in flight: enough to fill group commits, few enough to forget about: twice what one commit takes. */
const putsMax = 2048;
/** Nodes put together: nobody waits for one before the end of the import, and each commit waits for the disk. About 1 MiB. */
const nodesMax = 256;
/** Files read together: changed ones lie here and there, and found one by one each would have a commit of its own. */
const readsMax = 256;
const readBytesMax = 4 * 1024 * 1024;

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
  #reads: (() => Promise<void>)[] = [];
  #readBytes = 0;
  #nodes: BuiltNode[] = [];
  #flushed: Promise<void> = Promise.resolve();
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

  /** Begins `work`, which reads a file of that size and must not reject, with the next `startReads` at the latest. */
  async read(bytes: number, work: () => Promise<void>): Promise<void> {
    this.#reads.push(work);
    this.#readBytes += bytes;
    if (this.#reads.length >= readsMax || this.#readBytes >= readBytesMax) await this.startReads();
  }

  /** To be called before anything waits for what is read. */
  async startReads(): Promise<void> {
    const reads = this.#reads;
    this.#reads = [];
    this.#readBytes = 0;
    for (const work of reads) await this.puts.start(work);
  }

  /** Puts a node, with the next `flushNodes` at the latest. What it links to was given before. One that fails ends the import. */
  async putNode(node: BuiltNode): Promise<void> {
    this.#nodes.push(node);
    if (this.#nodes.length >= nodesMax) await this.flushNodes();
  }

  /** Resolves when all nodes given so far are begun, in their order: a store takes a node after what it links to. */
  flushNodes(): Promise<void> {
    this.#flushed = this.#flushed.then(async () => {
      const nodes = this.#nodes;
      this.#nodes = [];
      for (const node of nodes) await this.puts.start(() => this.#put(node));
    });
    return this.#flushed;
  }

  async #put({ bytes, id }: BuiltNode): Promise<void> {
    try {
      this.check();
      await this.store.put(bytes, { kind: 'node', expectId: id });
    } catch (error) {
      this.fail(error);
    }
  }

  /** Lets others have their turn when it is time. */
  rest(): Promise<void> | undefined {
    return this.turns.due ? this.turns.rest() : undefined;
  }
}
