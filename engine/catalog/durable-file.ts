/** A small file put in place whole: whoever dies on the way leaves what was there before, and a draft. */
import { systemCode } from '../errors.ts';
import type { Files } from '../host.ts';

export function draftOf(path: string): string {
  return `${path}.new`;
}

/**
 * Writes a file of this folder, in place of one that is there; durable when it returns. A draft that somebody died over is begun anew, so
 * no two may write the same file at once.
 */
export function writeDurably(
  files: Files,
  { folder, path }: { readonly folder: string; readonly path: string },
  bytes: Uint8Array,
): void {
  const draft = draftOf(path);
  try {
    files.removeFile(draft);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
  const file = files.open(draft, 'create');
  try {
    file.write(bytes, 0);
    file.sync();
  } finally {
    file.close();
  }
  files.rename(draft, path);
  files.syncFolder(folder);
}
