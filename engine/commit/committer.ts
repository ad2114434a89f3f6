/** Group commit: many operations of the calling thread in one transaction, bytes before catalog, catalog before answer. */
import type { BlobId } from '../api.ts';
import { type BlobRow, isBorrowed, noVolume, storedForms } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import type {
  ChunkedPut as ChunkedPutOf,
  CommitOperation as Operation,
  LargeProbe as LargeProbeOf,
  LargePut as LargePutOf,
  ProbeOutcome,
  PutOutcome,
  SmallPut as SmallPutOf,
} from './operations.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { fromHex } from '../codec/bytes.ts';
import { recordOfNode } from '../codec/record.ts';
import { StoreError, invariant } from '../errors.ts';
import type { Named } from '../keys/realm.ts';
import type { Locator, Part } from '../volume.ts';
import { fanOut } from '../volumes/directory.ts';
import { tendCache } from './cache.ts';
import { setHorizon, setSide, unchunk } from './notes.ts';
import { copyAt } from '../catalog/copy-rows.ts';
import { type Afterwards, appendCopies, lacking, markCopy, retire, retireFurther } from './copies.ts';
import { checkBorrowed, keptKind } from './borrow.ts';
import { dropIntent, intend, writeChunkSums } from './files.ts';
import { outcomeOf } from './outcome.ts';
import { keyOf, leastKind, otherKey } from './put-keys.ts';
import type { VolumeSet } from './volume-set.ts';

type SmallPut = SmallPutOf<Named>;
type LargeProbe = LargeProbeOf<Named>;
type LargePut = LargePutOf<Named>;
type ChunkedPut = ChunkedPutOf<Named>;

export interface CommitterOptions {
  readonly lease: string;
  /** Moves a damaged file out of the way, never deletes it. */
  readonly quarantine: (row: BlobRow) => void;
  /** Whether a borrowed blob can be relied on. Absent in a store that cannot borrow. */
  readonly lent?: { holds(row: BlobRow): boolean };
}

export type OperationResult = { readonly value: unknown } | { readonly error: unknown };

/** A record that is in its volume, but in no row yet. */
interface Placed {
  readonly volume: number;
  readonly locator: Locator;
  /** Where else it is, in a mirrored group. */
  readonly further: readonly { readonly volume: number; readonly locator: Locator }[];
  used: boolean;
  /** There was no row of this id when the batch was looked through. */
  readonly fresh: boolean;
}

/** Answer to a copy that was to replace one that is not in use any more. */
const unneeded: PutOutcome = { storedSize: 0, deduplicated: true };
/** Without mirrors nothing is made for each put to say so. */
const nowhereElse: Placed['further'] = [];

/** An operation was refused after it had changed rows already: the transaction must not commit that. */
class HalfDone extends Error {}

export class Committer {
  readonly #catalog: Catalog;
  readonly #volumes: VolumeSet;
  readonly #options: CommitterOptions;

  constructor(catalog: Catalog, volumes: VolumeSet, options: CommitterOptions) {
    this.#catalog = catalog;
    this.#volumes = volumes;
    this.#options = options;
  }

  /**
   * Commits a batch. An operation that is refused (unknown id, conflict) gets its error and leaves the others alone; trouble with the
   * disk fails the whole batch. Returns when everything is durable.
   */
  commit(operations: readonly Operation[]): OperationResult[] {
    try {
      return this.#commitTogether(operations);
    } catch (error) {
      if (!(error instanceof HalfDone)) throw error;
      // Rolled back with the whole batch. One by one, it takes nobody with it.
      if (operations.length === 1) return [{ error: error.cause }];
      return operations.map((operation) => this.commit([operation])[0]!);
    }
  }

  #commitTogether(operations: readonly Operation[]): OperationResult[] {
    const afterwards: Afterwards = [];
    const results = this.#catalog.transaction((transaction) => {
      const placed = this.#placeRecords(transaction, operations);
      const answers = operations.map((operation): OperationResult => {
        const before = transaction.writes;
        try {
          return { value: this.#apply(transaction, operation, placed, afterwards) };
        } catch (error) {
          if (!StoreError.is(error)) throw error;
          if (transaction.writes > before)
            throw new HalfDone('an operation failed half-way', { cause: error });
          return { error };
        }
      });
      for (const { used, ...place } of placed.values())
        if (!used)
          for (const { volume, locator } of [place, ...place.further])
            this.#volumes.free(transaction, volume, locator);
      return answers;
    });
    for (const action of afterwards) action();
    return results;
  }

  /** Writes the records that are not here already, all in one volume commit, before any row speaks of them. */
  #placeRecords(transaction: Transaction, operations: readonly Operation[]): Map<string, Placed> {
    const wanted = new Map<string, { readonly part: Part; readonly fresh: boolean }>();
    for (const put of operations) {
      if (put.op !== 'put-small' || wanted.has(keyOf(put))) continue;
      const { id, incarnation, record } = put;
      const found = this.#catalog.blobs.inspect(fromHex(id)!);
      if (put.instead === undefined) {
        if (found !== undefined && this.#stands(found, leastKind(put), put.part)) continue;
      } else if (found?.row.incarnation !== put.instead) continue;
      const isNode = found?.sound === true && found.row.kind === 1 && !isBorrowed(found.row);
      const bytes =
        put.kind === 'raw' && isNode ? recordOfNode(this.#volumes.options.provider, record) : record;
      wanted.set(keyOf(put), { part: { name: { id, incarnation }, bytes }, fresh: found === undefined });
    }
    const placed = new Map<string, Placed>();
    if (wanted.size === 0) return placed;
    const parts = [...wanted.values()].map(({ part }) => part);
    const [first, ...others] = appendCopies(transaction, this.#volumes, parts);
    [...wanted].forEach(([key, { fresh }], i) => {
      const further =
        others.length === 0
          ? nowhereElse
          : others.map(({ volume, locators }) => ({ volume, locator: locators[i]! }));
      placed.set(key, { volume: first!.volume, locator: first!.locators[i]!, further, used: false, fresh });
    });
    return placed;
  }

  #apply(
    transaction: Transaction,
    operation: Operation,
    placed: Map<string, Placed>,
    afterwards: Afterwards,
  ): unknown {
    switch (operation.op) {
      case 'put-small':
        return this.#putSmall(transaction, operation, placed, afterwards);
      case 'probe-large':
        return this.#probeLarge(transaction, operation);
      case 'put-large':
        return this.#putLarge(transaction, operation, afterwards);
      case 'put-chunked':
        return this.#putChunked(transaction, operation, afterwards);
      case 'retain':
        return transaction.retain(this.#lasting(operation.id), operation.owner);
      case 'release':
        return transaction.release(operation.id, operation.owner);
      case 'set-root':
        return transaction.setRoot(operation.name, this.#lasting(operation.id), operation.expect);
      case 'delete-root':
        return transaction.deleteRoot(operation.name, operation.expect);
      case 'horizon':
        return setHorizon(transaction, this.#options.lease, operation.generation);
      case 'side-set':
        return setSide(transaction, operation);
      case 'suspect':
        return markCopy(transaction, operation);
      case 'used':
      case 'evict':
        return tendCache(transaction, operation);
      case 'drop-intent':
        return dropIntent(transaction, operation.intent);
    }
  }

  #putSmall(
    transaction: Transaction,
    put: SmallPut,
    placed: Map<string, Placed>,
    afterwards: Afterwards,
  ): PutOutcome {
    const children = this.#catalog.blobs.byIds((put.links ?? []).map((link) => fromHex(link.name)!));
    if (children.includes(undefined)) {
      const missing = put.links!.filter((_, i) => children[i] === undefined).map((link) => link.id);
      throw new StoreError('not-found', `a node links to ${missing.length} blob(s) that are not here`, {
        missing: missing.slice(0, 100),
      });
    }
    for (const child of children) checkBorrowed(this.#catalog, this.#options.lent, child);
    const [kind, least, place] = [put.kind === 'node' ? 1 : 0, leastKind(put), placed.get(keyOf(put))];
    if (put.instead !== undefined && (place === undefined || !this.#isIn(put.id, put.instead)))
      return unneeded;
    // Unplaced: it stood when the batch was looked through. A placed one may stand by now, by another operation of the batch.
    const first = place !== undefined && !place.used && !placed.has(otherKey(put));
    const standing = first || put.instead !== undefined ? undefined : this.#standing(put.id, least, put.part);
    let row: BlobRow;
    let healed = false;
    if (standing !== undefined) {
      row = this.#labelled(transaction, standing, put.label);
      // What loses its last reference from now on is held by the session's horizon.
      if (put.part !== true || row.zero_since !== null) transaction.touch(row);
    } else {
      invariant(place !== undefined, 'a record without a place');
      const facts = {
        kind,
        codec: storedForms.plain,
        size: put.size,
        stored: place.locator.length,
        volume: place.volume,
        extent: place.locator.extent,
        start: place.locator.offset,
        incarnation: put.incarnation,
        label: put.label,
      };
      ({ row, healed } =
        first && place.fresh
          ? { row: transaction.insert({ id: fromHex(put.id)!, ...facts }), healed: false }
          : this.#settle(transaction, put.id, facts, afterwards));
      place.used = true;
      for (const { volume, locator } of place.further) {
        const { extent, offset: start } = locator;
        const { incarnation } = put;
        this.#catalog.copies.put({ blob: row.n, volume, extent, start, incarnation, suspect: 0 });
      }
      // A blob linked both as raw and as node is referenced once: the second time it is there already.
      const owner = { kind: ownerKinds.node, owner: row.n } as const;
      for (const child of children) transaction.reference(child!, owner);
    }
    const copies = standing === undefined ? 1 + place!.further.length : undefined;
    return outcomeOf(transaction, put, { row, deduplicated: standing !== undefined, healed, copies });
  }

  #probeLarge(transaction: Transaction, probe: LargeProbe): ProbeOutcome {
    const row = probe.instead === undefined ? this.#standing(probe.id, 0) : undefined;
    if (probe.instead !== undefined && !this.#isIn(probe.id, probe.instead)) return { have: unneeded };
    if (row !== undefined) {
      transaction.touch(this.#labelled(transaction, row, probe.label));
      const outcome = outcomeOf(transaction, probe, { row, deduplicated: true });
      return { have: { ...outcome, ...lacking(transaction, row) } };
    }
    const { lease } = this.#options;
    const bytes = probe.storedSize;
    const volume = this.#volumes.forFile(transaction, bytes, probe.staged);
    return { intent: intend(transaction, { name: probe, lease, volume, bytes }), volume };
  }

  #putLarge(transaction: Transaction, put: LargePut, afterwards: Afterwards): PutOutcome {
    dropIntent(transaction, put.intent);
    const replaces = put.instead !== undefined && this.#isIn(put.id, put.instead);
    const standing = replaces ? undefined : this.#standing(put.id, 0);
    let row: BlobRow;
    let healed = false;
    if (standing !== undefined) {
      // Somebody else was faster; our copy is the second one.
      row = this.#labelled(transaction, standing, put.label);
      transaction.touch(row);
      if (standing.incarnation !== put.incarnation)
        afterwards.push(() => void this.#volumes.directory(put.volume).delete(put));
    } else {
      const facts = {
        kind: 0,
        codec: put.framed ? storedForms.framed : storedForms.plain,
        size: put.size,
        stored: put.storedSize,
        volume: put.volume,
        extent: fanOut(put.id),
        start: 0,
        incarnation: put.incarnation,
        label: put.label,
      };
      ({ row, healed } = this.#settle(transaction, put.id, facts, afterwards));
      this.#volumes.charge(transaction, put.volume, row.stored);
      writeChunkSums(this.#catalog, row.n, put.sums);
    }
    const found = { row, deduplicated: standing !== undefined, healed };
    return { ...outcomeOf(transaction, put, found), ...lacking(transaction, row) };
  }

  /** Its chunks and its manifest are here already; this makes them the one blob. */
  #putChunked(transaction: Transaction, put: ChunkedPut, afterwards: Afterwards): PutOutcome {
    const manifest = transaction.live(put.manifest);
    const standing = this.#standing(put.id, 0);
    let row = standing && this.#labelled(transaction, standing, put.label);
    let healed = false;
    if (row !== undefined) transaction.touch(row);
    else {
      const facts = {
        kind: 0,
        codec: storedForms.chunked,
        size: put.size,
        stored: 0,
        volume: noVolume,
        extent: fanOut(put.id),
        start: 0,
        incarnation: put.incarnation,
        label: put.label,
      };
      ({ row, healed } = this.#settle(transaction, put.id, facts, afterwards));
      transaction.reference(transaction.catalog.blobs.byNumber(manifest.n)!, {
        kind: ownerKinds.chunked,
        owner: row.n,
      });
    }
    return outcomeOf(transaction, put, { row, deduplicated: standing !== undefined, healed });
  }

  /** The row of a blob that is here, whole as far as one can tell without reading it, and of this kind; then a put needs no bytes. */
  #standing(id: BlobId, kind: number, part?: boolean): BlobRow | undefined {
    const found = this.#catalog.blobs.inspect(fromHex(id)!);
    return found !== undefined && this.#stands(found, kind, part) ? found.row : undefined;
  }

  /** Whether this copy is the one in use. */
  #isIn(id: BlobId, incarnation: number): boolean {
    return this.#catalog.blobs.inspect(fromHex(id)!)?.row.incarnation === incarnation;
  }

  /** What was taken in without keys gets its label from the first who knows it. */
  #labelled(transaction: Transaction, row: BlobRow, label: Uint8Array | null): BlobRow {
    if (row.label !== null || label === null) return row;
    row.label = label;
    transaction.changed = true;
    this.#catalog.blobs.update(row);
    return row;
  }

  #stands(found: { readonly row: BlobRow; readonly sound: boolean }, kind: number, part = false): boolean {
    if (!found.sound || found.row.suspect !== 0 || found.row.kind < kind) return false;
    // Of a chunked blob all is here: it is put together again from its parts when the catalog is lost.
    if (part && isBorrowed(found.row)) return false;
    return (
      this.#holds(found.row) ||
      this.#catalog.copies
        .of(found.row.n)
        .some((copy) => copy.suspect === 0 && this.#holds(copyAt(found.row, copy)))
    );
  }

  #lasting(id: BlobId): BlobId {
    checkBorrowed(this.#catalog, this.#options.lent, this.#catalog.blobs.byId(fromHex(id)!));
    return id;
  }

  #holds(row: BlobRow): boolean {
    if (isBorrowed(row)) return this.#options.lent?.holds(row) === true;
    try {
      return this.#volumes.holds(row);
    } catch (error) {
      // A volume that is offline or damaged says nothing of its blobs; a new copy is safe, an answer "have it" is not.
      if (StoreError.is(error, 'unavailable') || StoreError.is(error, 'corrupt')) return false;
      throw error;
    }
  }

  /** A new row, or the old row pointing to the new copy: a put heals, and makes a node of bytes that were raw. */
  #settle(
    transaction: Transaction,
    id: BlobId,
    facts: Pick<
      BlobRow,
      'kind' | 'codec' | 'size' | 'stored' | 'volume' | 'extent' | 'start' | 'incarnation' | 'label'
    >,
    afterwards: Afterwards,
  ): { row: BlobRow; healed: boolean } {
    const bytes = fromHex(id)!;
    const old = this.#catalog.blobs.inspect(bytes);
    if (old === undefined) return { row: transaction.insert({ id: bytes, ...facts }), healed: false };
    const { row, sound } = old;
    const before: BlobRow = { ...row };
    const healed = !sound || row.suspect !== 0 || row.kind >= facts.kind;
    const kept = sound ? keptKind(this.#catalog, row, facts.kind) : 0;
    Object.assign(row, facts, {
      kind: Math.max(kept, facts.kind),
      // A node no more: what it led to is nobody's to restore.
      ...(sound && kept < row.kind ? { created: transaction.state.clockMs } : {}),
      suspect: 0,
      refcount: this.#catalog.refs.count(row.n),
    });
    row.touched = transaction.state.clockMs;
    row.touched_gen = transaction.state.generation;
    row.zero_since = row.refcount === 0 ? transaction.state.clockMs : null;
    row.zero_gen = row.refcount === 0 ? transaction.state.generation : null;
    transaction.changed = true;
    this.#catalog.blobs.update(row);
    this.#catalog.sql.rows('DELETE FROM chunk_sums WHERE blob = ?').run(row.n);
    unchunk(transaction, row.n);
    const context = { volumes: this.#volumes, quarantine: this.#options.quarantine };
    if (sound) {
      retireFurther(transaction, context, before, afterwards);
      retire(transaction, context, before, afterwards);
    } else this.#catalog.copies.deleteAll(row.n);
    return { row, healed };
  }
}
