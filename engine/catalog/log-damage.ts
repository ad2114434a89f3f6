/** A root log that is not what was written: where its chain breaks, and which records can be read all the same. */
import type { RootLogEntry } from '../api.ts';
import type { Provider } from '../codec/provider.ts';
import { equalBytes } from '../codec/bytes.ts';
import { chainBytes, decodeLogHead, decodeLogRecord, logHeadBytes } from '../codec/root-record.ts';
import { systemCode } from '../errors.ts';
import type { Files, OpenFile } from '../host.ts';
import { type LogPosition, logStart, recordsIn } from './root-log.ts';

/** How far a look has come, and how far it is to go: to where the catalog had taken the log in when it began. */
export interface LogLook {
  readonly at: LogPosition;
  readonly end: LogPosition;
}

/** A look that is not through goes on from `next`; one that met damage, or has come to the end, has none. */
export interface LogSlice {
  readonly next?: LogLook;
  /** What is wrong; absent where nothing was found. */
  readonly problem?: string;
  /** The disk answered with an error. */
  readonly unreadable?: true;
}

/** What recovery says of a log that it could only cut: whatever the catalog held stands, and the log does not say it any more. */
export const shortLog = 'roots.log is shorter than the catalog remembers';

/** The next `bytes` of a look, about 9 µs for 100 of them. What was committed does not change, so a look may take its time. */
export function lookAtLog(
  { files, provider, path }: { readonly files: Files; readonly provider: Provider; readonly path: string },
  { at, end }: LogLook,
  bytes: number,
): LogSlice {
  const file = openIfThere(files, path);
  if (file === undefined) return { problem: 'roots.log is gone' };
  try {
    const head = new Uint8Array(logHeadBytes);
    file.read(head, 0);
    if (decodeLogHead(head) === undefined) return { problem: 'the head of roots.log is damaged' };
    let reached = at;
    for (const { next } of recordsIn(file, provider, at)) {
      if (next.offset > end.offset) break;
      reached = next;
      if (reached.offset === end.offset || reached.offset - at.offset >= bytes) break;
    }
    const { size } = file.facts();
    const isThrough = reached.offset >= end.offset;
    if (isThrough && equalBytes(reached.hash, end.hash)) return {};
    if (!isThrough && reached.offset - at.offset >= bytes) return { next: { at: reached, end } };
    if (size < end.offset) return { problem: `roots.log has ${size} of ${end.offset} bytes` };
    return { problem: `roots.log is damaged at byte ${Math.min(reached.offset, end.offset)}` };
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    return { problem: `roots.log cannot be read (${code})`, unreadable: true };
  } finally {
    file.close();
  }
}

/**
 * Every record up to `end` of which the hash follows from the one that stands before it, also behind damage, and each once. O(bytes).
 */
export function* survivingRecords(
  file: OpenFile,
  provider: Provider,
  end: LogPosition,
): Generator<RootLogEntry> {
  let position = logStart;
  let last = 0;
  for (;;) {
    for (const { entry, next } of recordsIn(file, provider, position)) {
      if (next.offset > end.offset) return;
      position = next;
      if (entry.sequence <= last || entry.sequence > end.sequence) continue;
      last = entry.sequence;
      yield entry;
    }
    const again = nextChain(file, provider, { from: position.offset + 1, end: end.offset });
    if (again === undefined) return;
    position = again;
  }
}

/** Longer than any record. */
const overlapBytes = 4096;
const scanBytes = 1024 * 1024;

/** The first place from which records follow from the hash before it. */
function nextChain(
  file: OpenFile,
  provider: Provider,
  { from, end }: { readonly from: number; readonly end: number },
): LogPosition | undefined {
  for (let start = from; start < end; start += scanBytes) {
    const first = start - chainBytes;
    const window = new Uint8Array(chainBytes + scanBytes + overlapBytes);
    const bytes = window.subarray(0, file.read(window, first));
    const stop = Math.min(chainBytes + scanBytes, bytes.length);
    for (let at = chainBytes; at < stop; at++) {
      const hash = bytes.subarray(at - chainBytes, at);
      const record = decodeLogRecord(provider, bytes, at, hash);
      if (record !== undefined) return { offset: first + at, sequence: 0, hash: hash.slice() };
    }
  }
  return undefined;
}

function openIfThere(files: Files, path: string): OpenFile | undefined {
  try {
    return files.open(path, 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
