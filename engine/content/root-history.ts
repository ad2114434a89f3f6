/** The root log as it is read back: its records in order, and the deleted roots whose content is still here. */
import type { DeletedRoot, RootLogEntry } from '../api.ts';
import type { BlobRow } from '../catalog/blob-rows.ts';
import { readState } from '../catalog/catalog.ts';
import { fromHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { chainBytes, decodeLogRecord, logHeadBytes } from '../codec/root-record.ts';
import { StoreError } from '../errors.ts';
import type { Files } from '../host.ts';
import { defaultGraceMs } from './freed.ts';
import type { Reader } from './reader.ts';

export interface LogPlace {
  readonly files: Files;
  readonly provider: Provider;
  readonly path: string;
}

/** Committed records, names and ids as they stand there. `corrupt` at the first that is not what was written. */
export function* logEntries({ sql }: Reader, { files, provider, path }: LogPlace): Generator<RootLogEntry> {
  const end = readState(sql).log.offset;
  const bytes = new Uint8Array(Math.max(0, end - logHeadBytes));
  const file = files.open(path, 'read');
  try {
    file.read(bytes, logHeadBytes);
  } finally {
    file.close();
  }
  let hash: Uint8Array = new Uint8Array(chainBytes);
  for (let at = 0; at < bytes.length;) {
    const record = decodeLogRecord(provider, bytes, at, hash);
    if (record === undefined)
      throw new StoreError('corrupt', `roots.log is damaged at byte ${logHeadBytes + at}`, { path });
    at += record.length;
    hash = record.hash;
    yield record.entry;
  }
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
    const name = realm.tell('root', entry.name, '');
    return [{ name, id: reader.tell(row), deletedMs, sequence, ...keptUntil(row) }];
  });
}

/** Put as mere bytes after the deletion: had it been a node then, nothing would keep what it led to. */
function isAnother({ kind, created }: BlobRow, deletedMs: number): boolean {
  return kind === 0 && created > deletedMs;
}

function keptUntil({ zero_since }: BlobRow): { readonly keptUntilMs?: number } {
  return zero_since === null ? {} : { keptUntilMs: zero_since + defaultGraceMs };
}
