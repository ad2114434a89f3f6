/** The file of keys, kept twice: without it nothing of an encrypted store can ever be read again. */
import type { StoreLayout } from '../catalog/layout.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Files } from '../host.ts';
import { describeKeys } from '../keys/keys.ts';

const bytesMax = 1024 * 1024;

/** Names of files that `writeKeyFiles` makes. */
export function keyFilesOf({ keys, keysCopy }: StoreLayout): string[] {
  return [keys, keysCopy].flatMap((path) => [path, draftOf(path)]);
}

function draftOf(path: string): string {
  return `${path}.new`;
}

/** One after the other, each durable before the next is touched, so that at any moment one of them is whole. */
export function writeKeyFiles(files: Files, layout: StoreLayout, bytes: Uint8Array): void {
  for (const path of [layout.keys, layout.keysCopy]) {
    const draft = draftOf(path);
    removeIfThere(files, draft);
    const file = files.open(draft, 'create');
    try {
      file.write(bytes, 0);
      file.sync();
    } finally {
      file.close();
    }
    files.rename(draft, path);
    files.syncFolder(layout.root);
  }
}

/** What a process left that died here. */
function removeIfThere(files: Files, path: string): void {
  if (files.facts(path) !== undefined) files.removeFile(path);
}

/**
 * The newest whole one. The other is made like it where it can be: a copy that was left behind would go on opening with a secret that was
 * taken away.
 */
export function readKeyFiles(
  files: Files,
  layout: StoreLayout,
  how: { readonly provider: Provider; readonly mend: boolean },
): Uint8Array {
  const found = [layout.keys, layout.keysCopy].map((path) => readKeyFile(files, path, how.provider));
  const whole = found.filter((one): one is KeyFile => 'bytes' in one);
  const newest = whole.toSorted((a, b) => b.sequence - a.sequence)[0];
  if (newest === undefined) throw (found[0] as { readonly error: unknown }).error;
  const mended = whole.length === found.length && whole.every(({ sequence }) => sequence === newest.sequence);
  if (!mended && how.mend) writeKeyFiles(files, layout, newest.bytes);
  return newest.bytes;
}

interface KeyFile {
  readonly bytes: Uint8Array;
  readonly sequence: number;
}

function readKeyFile(files: Files, path: string, provider: Provider): KeyFile | { readonly error: unknown } {
  try {
    const file = files.open(path, 'read');
    try {
      const bytes = new Uint8Array(Math.min(file.facts().size, bytesMax));
      file.read(bytes, 0);
      return { bytes, sequence: describeKeys(provider, bytes).sequence };
    } finally {
      file.close();
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      return { error: new StoreError('corrupt', 'the file of keys is gone', { path }, error) };
    // Of a later version, or with costs out of bounds: that is to be told, not to be written over.
    if (StoreError.is(error) && !StoreError.is(error, 'corrupt')) throw error;
    return { error };
  }
}
