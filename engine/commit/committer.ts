/** Group commit: many operations of the calling thread in one transaction, bytes before catalog, catalog before answer. */
import type { BlobId } from '../api.ts';
import { type BlobRow, isChunked, noVolume, partNameOf, storedForms } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import type {
  ChunkedPut,
  LargeProbe,
  LargePut,
  Operation,
  ProbeOutcome,
  PutOutcome,
  SmallPut,
} from './operations.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { fromHex } from '../codec/bytes.ts';
import { recordOfNode } from '../codec/record.ts';
import { StoreError, invariant } from '../errors.ts';
import type { Locator, Part, PartName } from '../volume.ts';
import { fanOut } from '../volumes/directory.ts';
import { markSuspect, setSide } from './notes.ts';
import { type VolumeSet, locatorOf } from './volume-set.ts';

/** Checksums per chunk_sums row: 16,384 chunks, 64 KiB of sums, 1 GiB of content at the default chunk size. */
export const sumsRowBytes = 65_536;

export interface CommitterOptions {
  readonly lease: string;
  /** Moves a damaged file out of the way, never deletes it. */
  readonly quarantine: (row: BlobRow) => void;
}

export type OperationResult = { readonly value: unknown } | { readonly error: unknown };

/** A record that is in its volume, but in no row yet. */
interface Placed {
  readonly volume: number;
  readonly locator: Locator;
  used: boolean;
  /** There was no row of this id when the batch was looked through. */
  readonly fresh: boolean;
}

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
    const afterwards: (() => void)[] = [];
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
      for (const { volume, locator, used } of placed.values())
        if (!used) this.#volumes.free(transaction, volume, locator);
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
      if (found !== undefined && this.#stands(found, put.kind === 'node' ? 1 : 0)) continue;
      const healsNode = put.kind === 'raw' && found?.sound === true && found.row.kind === 1;
      const bytes = healsNode ? recordOfNode(this.#volumes.options.provider, record) : record;
      wanted.set(keyOf(put), { part: { name: { id, incarnation }, bytes }, fresh: found === undefined });
    }
    const placed = new Map<string, Placed>();
    if (wanted.size === 0) return placed;
    const parts = [...wanted.values()].map(({ part }) => part);
    const { volume, locators } = this.#volumes.append(transaction, parts);
    [...wanted].forEach(([key, { fresh }], i) =>
      placed.set(key, { volume, locator: locators[i]!, used: false, fresh }),
    );
    return placed;
  }

  #apply(
    transaction: Transaction,
    operation: Operation,
    placed: Map<string, Placed>,
    afterwards: (() => void)[],
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
        return transaction.retain(operation.id, operation.owner);
      case 'release':
        return transaction.release(operation.id, operation.owner);
      case 'set-root':
        return transaction.setRoot(operation.name, operation.id, operation.expect);
      case 'delete-root':
        return transaction.deleteRoot(operation.name, operation.expect);
      case 'horizon':
        return this.#setHorizon(transaction, operation.generation);
      case 'side-set':
        return setSide(transaction, operation);
      case 'suspect':
        return markSuspect(transaction, operation);
      case 'drop-intent':
        return this.#dropIntent(transaction, operation.intent);
    }
  }

  #putSmall(
    transaction: Transaction,
    put: SmallPut,
    placed: Map<string, Placed>,
    afterwards: (() => void)[],
  ): PutOutcome {
    const children = (put.links ?? []).map((link) => this.#catalog.blobs.byId(fromHex(link.id)!));
    if (children.includes(undefined)) {
      const missing = put.links!.filter((_, i) => children[i] === undefined).map((link) => link.id);
      throw new StoreError('not-found', `a node links to ${missing.length} blob(s) that are not here`, {
        missing: missing.slice(0, 100),
      });
    }
    const kind = put.kind === 'node' ? 1 : 0;
    const place = placed.get(keyOf(put));
    // Unplaced: it stood when the batch was looked through. A placed one may stand by now, by another operation of the batch.
    const first = place !== undefined && !place.used && !placed.has(otherKey(put));
    const standing = first ? undefined : this.#standing(put.id, kind);
    let row: BlobRow;
    let healed = false;
    if (standing !== undefined) {
      row = standing;
      // What loses its last reference from now on is held by the session's horizon.
      if (put.part !== true || row.zero_since !== null) transaction.touch(row);
    } else {
      invariant(place !== undefined, 'a record without a place');
      place.used = true;
      const facts = {
        kind,
        codec: storedForms.plain,
        size: put.size,
        stored: place.locator.length,
        volume: place.volume,
        extent: place.locator.extent,
        start: place.locator.offset,
        incarnation: put.incarnation,
      };
      ({ row, healed } =
        first && place.fresh
          ? { row: transaction.insert({ id: fromHex(put.id)!, ...facts }), healed: false }
          : this.#settle(transaction, put.id, facts, afterwards));
      // A blob linked both as raw and as node is referenced once: the second time it is there already.
      const owner = { kind: ownerKinds.node, owner: row.n } as const;
      for (const child of children) transaction.reference(child!, owner);
    }
    if (put.owner !== undefined) transaction.retain(put.id, put.owner);
    return { storedSize: row.stored, deduplicated: standing !== undefined, ...(healed ? { healed } : {}) };
  }

  #probeLarge(transaction: Transaction, probe: LargeProbe): ProbeOutcome {
    const row = this.#standing(probe.id, 0);
    if (row !== undefined) {
      transaction.touch(row);
      if (probe.owner !== undefined) transaction.retain(probe.id, probe.owner);
      return { have: { storedSize: row.stored, deduplicated: true } };
    }
    const { lease } = this.#options;
    const bytes = probe.storedSize;
    const volume = this.#volumes.forFile(transaction, bytes, probe.staged);
    return { intent: intend(transaction, { name: probe, lease, volume, bytes }), volume };
  }

  #putLarge(transaction: Transaction, put: LargePut, afterwards: (() => void)[]): PutOutcome {
    this.#dropIntent(transaction, put.intent);
    const standing = this.#standing(put.id, 0);
    const name = { id: put.id, incarnation: put.incarnation, framed: put.framed };
    let row: BlobRow;
    let healed = false;
    if (standing !== undefined) {
      // Somebody else was faster; our copy is the second one.
      row = standing;
      transaction.touch(row);
      if (standing.incarnation !== put.incarnation)
        afterwards.push(() => void this.#volumes.directory(put.volume).delete(name));
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
      };
      ({ row, healed } = this.#settle(transaction, put.id, facts, afterwards));
      this.#volumes.charge(transaction, put.volume, row.stored);
      writeChunkSums(this.#catalog, row.n, put.sums);
    }
    if (put.owner !== undefined) transaction.retain(put.id, put.owner);
    return { storedSize: row.stored, deduplicated: standing !== undefined, ...(healed ? { healed } : {}) };
  }

  /** Its chunks and its manifest are here already; this makes them the one blob. */
  #putChunked(transaction: Transaction, put: ChunkedPut, afterwards: (() => void)[]): PutOutcome {
    const manifest = transaction.live(put.manifest);
    const standing = this.#standing(put.id, 0);
    let row = standing;
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
      };
      ({ row, healed } = this.#settle(transaction, put.id, facts, afterwards));
      transaction.reference(transaction.catalog.blobs.byNumber(manifest.n)!, {
        kind: ownerKinds.chunked,
        owner: row.n,
      });
    }
    if (put.owner !== undefined) transaction.retain(put.id, put.owner);
    return { storedSize: row.stored, deduplicated: standing !== undefined, ...(healed ? { healed } : {}) };
  }

  /** The row of a blob that is here, whole as far as one can tell without reading it, and of this kind; then a put needs no bytes. */
  #standing(id: BlobId, kind: number): BlobRow | undefined {
    const found = this.#catalog.blobs.inspect(fromHex(id)!);
    return found !== undefined && this.#stands(found, kind) ? found.row : undefined;
  }

  #stands(found: { readonly row: BlobRow; readonly sound: boolean }, kind: number): boolean {
    return found.sound && found.row.suspect === 0 && found.row.kind >= kind && this.#holds(found.row);
  }

  #holds(row: BlobRow): boolean {
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
      'kind' | 'codec' | 'size' | 'stored' | 'volume' | 'extent' | 'start' | 'incarnation'
    >,
    afterwards: (() => void)[],
  ): { row: BlobRow; healed: boolean } {
    const bytes = fromHex(id)!;
    const old = this.#catalog.blobs.inspect(bytes);
    if (old === undefined) return { row: transaction.insert({ id: bytes, ...facts }), healed: false };
    const { row, sound } = old;
    const before: BlobRow = { ...row };
    const healed = !sound || row.suspect !== 0 || row.kind >= facts.kind;
    Object.assign(row, facts, {
      kind: Math.max(sound ? row.kind : 0, facts.kind),
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
    this.#unchunk(transaction, row.n);
    if (sound) this.#retire(transaction, before, afterwards);
    return { row, healed };
  }

  /** Whatever the row was, it is not made of the chunks it had. */
  #unchunk(transaction: Transaction, n: number): void {
    for (const child of this.#catalog.refs.childrenOf(n, ownerKinds.chunked)) {
      const by = { kind: ownerKinds.chunked, owner: n } as const;
      const manifest = this.#catalog.blobs.byNumber(child);
      if (manifest !== undefined) transaction.unreference(manifest, by);
      else this.#catalog.refs.remove(child, by);
    }
  }

  /** The copy a row no longer points to. */
  #retire(transaction: Transaction, row: BlobRow, afterwards: (() => void)[]): void {
    if (isChunked(row)) return;
    if (!this.#volumes.isDirectory(row.volume))
      return this.#volumes.free(transaction, row.volume, locatorOf(row));
    this.#volumes.charge(transaction, row.volume, -row.stored);
    afterwards.push(() => {
      try {
        if (row.suspect !== 0) this.#options.quarantine(row);
        else this.#volumes.directory(row.volume).delete(partNameOf(row));
      } catch (error) {
        // In a volume that is away it stays; when that is back, a scrub drops it as a second copy.
        if (!StoreError.is(error, 'unavailable')) throw error;
      }
    });
  }

  #setHorizon(transaction: Transaction, generation: number | 'now' | null): number {
    transaction.changed = true;
    const value = generation === 'now' ? transaction.state.generation : generation;
    this.#catalog.sql.rows('UPDATE leases SET horizon = ? WHERE uuid = ?').run(value, this.#options.lease);
    return transaction.state.generation;
  }

  #dropIntent(transaction: Transaction, intent: number): void {
    transaction.changed = true;
    this.#catalog.sql.rows('DELETE FROM intents WHERE n = ?').run(intent);
  }
}

/** Says whose file is about to appear in a directory, so that recovery knows it and its cap counts it. Returns the intent's number. */
export function intend(
  transaction: Transaction,
  file: { readonly name: PartName; readonly lease: string; readonly volume: number; readonly bytes: number },
): number {
  transaction.changed = true;
  const { name, lease, volume, bytes } = file;
  const written = transaction.catalog.sql
    .rows('INSERT INTO intents (lease, id, incarnation, framed, volume, bytes) VALUES (?, ?, ?, ?, ?, ?)')
    .run(lease, fromHex(name.id)!, name.incarnation, Number(name.framed === true), volume, bytes);
  return Number(written.lastInsertRowid);
}

/** Stores the chunk checksums of a large blob, a row per `sumsRowBytes`. */
export function writeChunkSums(catalog: Catalog, blob: number, sums: Uint8Array): void {
  const insert = catalog.sql.rows(
    'INSERT OR REPLACE INTO chunk_sums (blob, part, sums, sum) VALUES (?, ?, ?, ?)',
  );
  for (let part = 0; part * sumsRowBytes < sums.length; part++) {
    const slice = sums.subarray(part * sumsRowBytes, (part + 1) * sumsRowBytes);
    insert.run(blob, part, slice, catalog.hasher.sum('chunk_sums', [blob, part, slice]));
  }
}

/** The same bytes as the other kind: both in one batch must see each other. */
function otherKey(put: SmallPut): string {
  return put.kind === 'node' ? `r${put.id}` : `n${put.id}`;
}

function keyOf(put: SmallPut): string {
  return put.kind === 'node' ? `n${put.id}` : `r${put.id}`;
}
