/** Temp files of blobs that are being taken in: made, written, copied, removed; trouble with the disk is told as trouble of a write. */
import { concatBytes } from '../codec/bytes.ts';
import { systemCode, writeError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';

const sliceBytes = 1024 * 1024;

/** All of one open file into another, in slices. */
export function copyBytes(from: OpenFile, to: OpenFile): void {
  const slice = new Uint8Array(sliceBytes);
  for (let at = 0, count = 0; (count = from.read(slice, at)) > 0; at += count)
    to.write(slice.subarray(0, count), at);
}

export function createTemp(host: Host, path: string): OpenFile {
  try {
    return host.files.open(path, 'create');
  } catch (error) {
    throw writeError(error, 'creating a temp file');
  }
}

export function writeTo({ file }: { readonly file: OpenFile }, bytes: Uint8Array, at: number): void {
  try {
    file.write(bytes, at);
  } catch (error) {
    throw writeError(error, 'writing a temp file');
  }
}

export function append(staged: { readonly file: OpenFile; written: number }, bytes: Uint8Array): void {
  writeTo(staged, bytes, staged.written);
  staged.written += bytes.length;
}

/** The same, while the caller goes on where the host can: the bytes are left alone until it resolves. */
export async function appendLater(
  staged: { readonly file: OpenFile; written: number },
  pieces: readonly Uint8Array[],
): Promise<void> {
  const { file } = staged;
  if (file.writeLater === undefined) return append(staged, concatBytes(...pieces));
  const at = staged.written;
  staged.written += pieces.reduce((sum, { length }) => sum + length, 0);
  try {
    await file.writeLater(pieces, at);
  } catch (error) {
    throw writeError(error, 'writing a temp file');
  }
}

export function removeIfThere(host: Host, path: string): void {
  try {
    host.files.removeFile(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
