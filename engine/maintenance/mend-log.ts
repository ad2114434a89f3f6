/** A damaged root log written anew: what can be read of it, and then what the catalog knows besides. */
import type { LogDamage, RootLogEntry } from '../api.ts';
import { encodeBorrow } from '../catalog/borrow.ts';
import { storedForms } from '../catalog/blob-rows.ts';
import type { Catalog, Transaction } from '../catalog/catalog.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { type LogLook, lookAtLog, shortLog, survivingRecords } from '../catalog/log-damage.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { type LogPosition, logStart } from '../catalog/root-log.ts';
import { toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { encodeLogRecord } from '../codec/root-record.ts';
import { removeIfThere } from '../commit/create.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';
import { keepCopy } from './rebuild-finish.ts';

export interface MendContext {
  readonly catalog: Catalog;
  readonly host: Host;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  /** Of this process. */
  readonly lease: string;
}

/** Of whoever lent a blob, where the record that said it is lost: it may be read from any alternate. */
const unknownLender = '0'.repeat(32);
const flushBytes = 1024 * 1024;
const noMore = 'Roots and owners are all in the catalog.';

/**
 * After a look found damage: looks again, under the write lock, and mends it where the catalog is sound. Else a doubt stops collection.
 * O(log and owners), in one transaction: it is rare, and nothing may be logged meanwhile. Undefined where nothing is wrong any more.
 */
export function settleLog(context: MendContext, sound: boolean): LogDamage | undefined {
  const { catalog, host, provider, layout } = context;
  return catalog.transaction((transaction) => {
    const { state } = transaction;
    const place = { files: host.files, provider, path: layout.rootLog };
    const whole: LogLook = { at: logStart, end: state.log };
    const look = lookAtLog(place, whole, Number.POSITIVE_INFINITY);
    const problem = look.problem ?? (state.doubt.startsWith(shortLog) ? state.doubt : undefined);
    if (problem === undefined) return undefined;
    const left = (why: string): LogDamage => {
      transaction.raiseDoubt(`${problem}. ${noMore} ${why}`);
      return { problem: state.doubt, mended: false };
    };
    if (!catalog.log.isAt(layout.rootLog))
      return left(
        'The file was removed or replaced while the store is open: push its roots to another store before it is closed',
      );
    if (look.unreadable === true)
      return left('Look at the disk, and scrub again; if that stays, push its roots to another store');
    // A process died over its append: what it left is taken in by the next commit, and must not be lost here.
    if (catalog.log.isAhead(state.log)) return left('Somebody was appending to it: scrub again');
    if (!sound)
      return left('The catalog has damaged rows, too: scrub again, then push its roots to another store');
    try {
      mend(transaction, context);
    } catch (error) {
      if (!StoreError.is(toStoreError(error, 'mending roots.log'), 'no-space')) throw error;
      return left('There is no room to write it anew: make some, and scrub again');
    }
    return { problem, mended: true };
  });
}

function mend(transaction: Transaction, { catalog, host, provider, layout, lease }: MendContext): void {
  const { files } = host;
  if (files.facts(layout.quarantine) === undefined) files.makeFolder(layout.quarantine);
  keepCopy(files, layout.rootLog, layout.quarantine);
  const path = files.join(layout.temps, lease, 'roots.log');
  removeIfThere(files, path);
  const file = files.open(path, 'create');
  const old = files.open(layout.rootLog, 'read');
  try {
    const draft = new Draft(file, provider);
    const logged = new Logged(catalog);
    const { state } = transaction;
    for (const entry of survivingRecords(old, provider, state.log)) {
      draft.add(entry);
      logged.take(entry);
    }
    let { sequence } = state.log;
    for (const lost of logged.lacking()) draft.add({ ...lost, timeMs: state.clockMs, sequence: ++sequence });
    const end = { ...draft.end(), sequence };
    catalog.log.overwrite(file);
    state.log = end;
    transaction.changed = true;
  } finally {
    old.close();
    file.close();
    removeIfThere(files, path);
  }
}

/** Records chained anew, written one behind the other; the head is not among them. */
class Draft {
  readonly #file: OpenFile;
  readonly #provider: Provider;
  #position: LogPosition = logStart;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #written = 0;

  constructor(file: OpenFile, provider: Provider) {
    this.#file = file;
    this.#provider = provider;
  }

  add(entry: RootLogEntry): void {
    const { offset, hash } = this.#position;
    const record = encodeLogRecord(this.#provider, entry, hash);
    const { length } = record.bytes;
    this.#position = { offset: offset + length, sequence: entry.sequence, hash: record.hash };
    this.#waiting.push(record.bytes);
    this.#waitingBytes += length;
    if (this.#waitingBytes >= flushBytes) this.#flush();
  }

  end(): LogPosition {
    this.#flush();
    return this.#position;
  }

  #flush(): void {
    this.#file.write(Buffer.concat(this.#waiting), this.#written);
    this.#written += this.#waitingBytes;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

type Change = Pick<RootLogEntry, 'change' | 'name' | 'id'>;

/** What records come to, held against the catalog. */
class Logged {
  readonly #catalog: Catalog;
  /** By its key, what a root points to and how its name stands in the log. */
  readonly #roots = new Map<string, { readonly shown: string; readonly id: string }>();
  readonly #owners = new Map<string, { readonly shown: string; readonly id: string }>();
  readonly #borrowed = new Set<string>();
  /** How the names of owners stand in the log, by their keys: the catalog has nothing but those. */
  readonly #shown = new Map<string, string>();

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  take({ change, name: shown, id = '' }: RootLogEntry): void {
    if (change === 'borrow') {
      this.#borrowed.add(id);
      return;
    }
    const key = this.#catalog.keyOf(shown);
    if (change === 'set') this.#roots.set(key, { shown, id });
    else if (change === 'delete') this.#roots.delete(key);
    else {
      this.#shown.set(key, shown);
      if (change === 'retain') this.#owners.set(`${key}\0${id}`, { shown, id });
      else this.#owners.delete(`${key}\0${id}`);
    }
  }

  /** The changes after which the log says what the catalog says. What is borrowed comes first: roots may point to it. */
  *lacking(): Generator<Change> {
    const { sql, roots, blobs } = this.#catalog;
    const borrowed = sql
      .arrays('SELECT id, kind, size FROM blobs WHERE codec = ?')
      .all(storedForms.borrowed) as [Uint8Array, number, number][];
    for (const [id, kind, size] of borrowed)
      if (!this.#borrowed.has(toHex(id)))
        yield { change: 'borrow', name: encodeBorrow({ kind, size, lender: unknownLender }), id: toHex(id) };
    for (const { name, blob, shown } of roots.all()) {
      const id = toHex(blobs.byNumber(blob)!.id);
      if (this.#roots.get(name)?.id !== id) yield { change: 'set', name: shown, id };
      this.#roots.delete(name);
    }
    for (const { shown } of this.#roots.values()) yield { change: 'delete', name: shown };
    const held = sql
      .arrays('SELECT r.owner, b.id FROM refs AS r JOIN blobs AS b ON b.n = r.child WHERE r.kind = ?')
      .all(ownerKinds.application) as [string, Uint8Array][];
    for (const [key, bytes] of held) {
      const id = toHex(bytes);
      if (!this.#owners.delete(`${key}\0${id}`))
        yield { change: 'retain', name: this.#shown.get(key) ?? key, id };
    }
    for (const { shown, id } of this.#owners.values()) yield { change: 'release', name: shown, id };
  }
}
