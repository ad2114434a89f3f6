/** The root log as it is read back: its records in order, and the deleted roots whose content is still here. */
import type { DeletedRoot, RootLogEntry } from '../api.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { readState } from '../catalog/catalog.ts';
import { logStart, recordsIn } from '../catalog/root-log.ts';
import { fromHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError } from '../errors.ts';
import type { Files } from '../host.ts';
import { defaultGraceMs } from './freed.ts';
import { toldName } from './named-roots.ts';
import type { Reader } from './reader.ts';

export interface LogPlace {
  readonly files: Files;
  readonly provider: Provider;
  readonly path: string;
}

/** Committed records, names and ids as they stand there, read in pieces. `corrupt` at the first that is not what was written. */
export function* logEntries({ sql }: Reader, { files, provider, path }: LogPlace): Generator<RootLogEntry> {
  const end = readState(sql).log.offset;
  const file = files.open(path, 'read');
  let at = logStart.offset;
  try {
    if (at >= end) return;
    for (const { entry, next } of recordsIn(file, provider, logStart)) {
      yield entry;
      at = next.offset;
      if (at >= end) return;
    }
  } finally {
    file.close();
  }
  throw new StoreError('corrupt', `roots.log is damaged at byte ${at}`, { path });
}

/**
 * Newest first. A root whose blob has a row is whole: its links are references that keep all below it, and go with it in one transaction.
 */
export function deletedRoots(reader: Reader, place: LogPlace): DeletedRoot[] {
  const { realm, rows } = reader;
  /** What each root that is set points to, by the key it is found by. */
  const held = new Map<string, string>();
  /** Of each root and content only the last deletion. */
  const gone = new Map<string, { readonly entry: RootLogEntry; readonly id: string }>();
  for (const entry of logEntries(reader, place)) {
    if (entry.change !== 'set' && entry.change !== 'delete') continue;
    const key = realm.keyOf(entry.name);
    if (entry.change === 'set') held.set(key, entry.id!);
    else {
      const id = held.get(key);
      held.delete(key);
      if (id === undefined) continue;
      gone.delete(`${key}\0${id}`);
      gone.set(`${key}\0${id}`, { entry, id });
    }
  }
  return [...gone.values()].reverse().flatMap(({ entry, id }) => {
    const row = rows.byId(fromHex(id)!);
    const { sequence, timeMs: deletedMs } = entry;
    if (row === undefined || isAnother(row, deletedMs)) return [];
    const name = toldName(reader, 'root', entry.name, '', id);
    return [{ name, id: reader.tell(row), deletedMs, sequence, ...keptUntil(row) }];
  });
}

/** Whether, and when, a root was set to a blob. */
export interface AskedChange {
  readonly name: string;
  readonly id: string;
}

/** Sequences of the records that set each root to each id, rising: one walk for all of them. */
export function rootChanges(reader: Reader, place: LogPlace, asked: readonly AskedChange[]): number[][] {
  const { realm } = reader;
  const stored = asked.map(({ name, id }) => ({ name: realm.find('root', name), id: realm.nameOf(id) }));
  return storedChanges(reader, place, stored);
}

/** The same by the keys that roots are found by, and by what blobs are called on disk. */
export function storedChanges(reader: Reader, place: LogPlace, asked: readonly AskedChange[]): number[][] {
  const { realm } = reader;
  const found = asked.map((): number[] => []);
  const wanted = new Map<string, number[]>();
  for (const [i, { name, id }] of asked.entries()) {
    const key = `${name}\0${id}`;
    wanted.set(key, [...(wanted.get(key) ?? []), i]);
  }
  if (wanted.size === 0) return found;
  for (const { change, name, id, sequence } of logEntries(reader, place))
    if (change === 'set')
      for (const i of wanted.get(`${realm.keyOf(name)}\0${id!}`) ?? []) found[i]!.push(sequence);
  return found;
}

/** Put as mere bytes after the deletion: had it been a node then, nothing would keep what it led to. */
function isAnother({ kind, created }: BlobRow, deletedMs: number): boolean {
  return kind === 0 && created > deletedMs;
}

function keptUntil({ zero_since }: BlobRow): { readonly keptUntilMs?: number } {
  return zero_since === null ? {} : { keptUntilMs: zero_since + defaultGraceMs };
}
