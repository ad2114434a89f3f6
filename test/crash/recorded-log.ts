// Reads the binary log of recorder.c: every recorded call, and every acknowledgement, in the order they happened.
import { readFileSync } from 'node:fs';

export type LogRecord =
  | { readonly type: 'create' | 'mkdir'; readonly inode: bigint; readonly path: string }
  | { readonly type: 'write'; readonly inode: bigint; readonly at: number; readonly data: Buffer }
  | { readonly type: 'truncate'; readonly inode: bigint; readonly size: number }
  | { readonly type: 'fsync'; readonly inode: bigint }
  | { readonly type: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly type: 'unlink' | 'rmdir'; readonly path: string }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string }
  | { readonly type: 'ack'; readonly text: string }
  | { readonly type: 'sync' };

const headerBytes = 40;

/** A log cut short by a kill loses its last, torn record only. Data are views into one buffer. */
export function readRecordedLog(path: string): readonly LogRecord[] {
  const log = readFileSync(path);
  const records: LogRecord[] = [];
  for (let at = 0; at + headerBytes <= log.length;) {
    const first = log.readUInt32LE(at + 32);
    const second = log.readUInt32LE(at + 36);
    const end = at + headerBytes + first + second;
    if (end > log.length) break;
    records.push(decode(log, at, first, end));
    at = end;
  }
  return records;
}

function decode(log: Buffer, at: number, first: number, end: number): LogRecord {
  const type = log.readUInt32LE(at);
  const inode = log.readBigUInt64LE(at + 8);
  const offset = Number(log.readBigUInt64LE(at + 16));
  const path = log.toString('utf8', at + headerBytes, at + headerBytes + first);
  const data = log.subarray(at + headerBytes + first, end);
  switch (type) {
    case 1:
      return { type: 'create', inode, path };
    case 2:
      return { type: 'write', inode, at: offset, data };
    case 3:
      return { type: 'truncate', inode, size: offset };
    case 4:
      return { type: 'fsync', inode };
    case 5:
      return { type: 'rename', path, to: data.toString() };
    case 6:
      return { type: 'unlink', path };
    case 7:
      return { type: 'mkdir', inode, path };
    case 8:
      return { type: 'rmdir', path };
    case 9:
      return { type: 'link', path, to: data.toString() };
    case 10:
      return { type: 'symlink', path, target: data.toString() };
    case 11:
      return { type: 'ack', text: data.toString() };
    case 12:
      return { type: 'sync' };
    case 13:
      throw new Error(`the recorded process did something that cannot be replayed: ${path}`);
    default:
      throw new Error(`unknown record type ${type} at byte ${at} of the log`);
  }
}
