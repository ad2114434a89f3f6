/** The naive rival: synchronous fs calls, sha256, and one sync at the end. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Naive, Range } from '../rival.ts';

const pieceBytes = 1024 * 1024;

export const copyFile: Naive['copyFile'] = (source, target) => {
  const piece = Buffer.allocUnsafe(pieceBytes);
  const hash = createHash('sha256');
  const [from, to] = [openSync(source, 'r'), openSync(`${target}.tmp`, 'w')];
  let bytes = 0;
  for (let count = readSync(from, piece); count > 0; count = readSync(from, piece)) {
    const part = piece.subarray(0, count);
    hash.update(part);
    writeSync(to, part);
    bytes += count;
  }
  closeSync(from);
  closeSync(to);
  renameSync(`${target}.tmp`, join(dirname(target), hash.digest('hex')));
  syncFolder(dirname(target));
  return bytes;
};

export const storeFiles: Naive['storeFiles'] = (sources, folder) => {
  for (let i = 0; i < 256; i++) mkdirSync(join(folder, i.toString(16).padStart(2, '0')), { recursive: true });
  let total = 0;
  for (const source of sources) {
    const bytes = readFileSync(source);
    const id = createHash('sha256').update(bytes).digest('hex');
    const path = join(folder, id.slice(0, 2), id);
    writeFileSync(`${path}.tmp`, bytes);
    renameSync(`${path}.tmp`, path);
    total += bytes.length;
  }
  syncFolder(folder);
  return total;
};

export const hashFiles: Naive['hashFiles'] = (paths) => {
  const piece = Buffer.allocUnsafe(pieceBytes);
  let bytes = 0;
  for (const path of paths) {
    const hash = createHash('sha256');
    const file = openSync(path, 'r');
    for (let count = readSync(file, piece); count > 0; count = readSync(file, piece)) {
      hash.update(piece.subarray(0, count));
      bytes += count;
    }
    closeSync(file);
    hash.digest();
  }
  return bytes;
};

export const readRanges: Naive['readRanges'] = (path, ranges: readonly Range[]) => {
  const file = openSync(path, 'r');
  let bytes = 0;
  for (const { offset, length } of ranges)
    bytes += readSync(file, Buffer.allocUnsafe(length), 0, length, offset);
  closeSync(file);
  return bytes;
};

export const readFiles: Naive['readFiles'] = (paths) =>
  paths.reduce((sum, path) => sum + readFileSync(path).length, 0);

export const takeNotes: Naive['takeNotes'] = (folder, notes) => {
  const lines: Record<string, string> = {};
  for (const path of filesBelow(folder)) {
    const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex');
    lines[path] = `${factsOf(path)} ${sha256}`;
  }
  writeFileSync(notes, JSON.stringify(lines));
};

export const checkNotes: Naive['checkNotes'] = (folder, notes) => {
  const lines = JSON.parse(readFileSync(notes, 'utf8')) as Record<string, string>;
  let count = 0;
  for (const path of filesBelow(folder)) {
    count++;
    if (lines[path]?.startsWith(`${factsOf(path)} `) !== true)
      createHash('sha256').update(readFileSync(path)).digest('hex');
  }
  return count;
};

function factsOf(path: string): string {
  const { size, mtimeMs, ctimeMs, ino } = lstatSync(path);
  return `${size} ${mtimeMs} ${ctimeMs} ${ino}`;
}

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

/** Everything of this file system to disk; where the command is missing, at least the folder. */
function syncFolder(folder: string): void {
  try {
    execFileSync('sync', ['-f', folder]);
  } catch {
    const handle = openSync(folder, 'r');
    fsyncSync(handle);
    closeSync(handle);
  }
}
