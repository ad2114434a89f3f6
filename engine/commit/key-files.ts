/** The file of keys, kept twice: without it nothing of an encrypted store can ever be read again. */
import { draftOf, writeDurably } from '../catalog/durable-file.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { equalBytes, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError, systemCode, toStoreError } from '../errors.ts';
import type { Files } from '../host.ts';
import { describeKeys } from '../keys/keys.ts';

const bytesMax = 1024 * 1024;

/** Files that `writeKeyFiles` and `keepOffered` made. */
export function keyFilesOf(files: Files, layout: StoreLayout): string[] {
  const offered = offeredNames(files, layout).map((name) => files.join(layout.root, name));
  return [layout.keys, layout.keysCopy, ...offered].flatMap((path) => [path, draftOf(path)]);
}

/** One after the other, each durable before the next is touched, so that at any moment one of them is whole. */
export function writeKeyFiles(files: Files, layout: StoreLayout, bytes: Uint8Array): void {
  for (const path of [layout.keys, layout.keysCopy])
    writeDurably(files, { folder: layout.root, path }, bytes);
}

/** The newest whole one. What it says is not proved before it was unlocked. */
export function readKeyFiles(files: Files, layout: StoreLayout, provider: Provider): Uint8Array {
  const found = [layout.keys, layout.keysCopy].map((path) => readKeyFile(files, path, provider));
  const newest = newestOf(found);
  if (newest === undefined) throw (found[0] as { readonly error: unknown }).error;
  return newest.bytes;
}

/**
 * Makes both files like the one that was unlocked: a copy that was left behind would go on opening with a secret that was taken away. Only
 * under the catalog's write lock, where no other process writes keys: an older file written over a newer one would be the end of all that
 * was sealed under the newer one's epoch. `busy` when the keys were changed since they were read.
 */
export function mendKeyFiles(
  files: Files,
  layout: StoreLayout,
  unlocked: { readonly bytes: Uint8Array; readonly provider: Provider },
): void {
  const { bytes, provider } = unlocked;
  const found = [layout.keys, layout.keysCopy].map((path) => readKeyFile(files, path, provider));
  const newest = newestOf(found);
  if (newest !== undefined && newest.sequence > describeKeys(provider, bytes).sequence)
    throw new StoreError('busy', 'another process has just changed the keys; open the store again');
  // What cannot be read now may be newer than what can: only what is known to be bad, or older, is written over.
  if (found.some((one) => 'error' in one && !StoreError.is(one.error, 'corrupt'))) return;
  if (!found.every((one) => 'bytes' in one && equalBytes(one.bytes, bytes)))
    writeKeyFiles(files, layout, bytes);
  dropOffered(files, layout, provider);
}

/** Kept at most: whoever may push can bring any number, and none may push out another. */
const offeredMax = 16;
const offeredName = /^keys\.offered\.[0-9a-f]{16}$/;
const draftName = /^keys(\.copy|\.offered\.[0-9a-f]{16})?\.new$/;

/**
 * Keeps a file of keys that nobody here can verify beside the one that is in use, until a secret opens it. Durable when it returns,
 * also where it was here and was damaged since; `limit-exceeded` where there are as many as are kept. Under the catalog's write lock.
 */
export function keepOffered(
  files: Files,
  layout: StoreLayout,
  keep: { readonly bytes: Uint8Array; readonly provider: Provider },
): void {
  const { bytes, provider } = keep;
  const name = `keys.offered.${toHex(provider.sha256(bytes)).slice(0, 16)}`;
  const path = files.join(layout.root, name);
  dropDrafts(files, layout);
  const names = offeredNames(files, layout);
  if (names.includes(name)) {
    const here = readKeyFile(files, path, provider);
    if ('bytes' in here && equalBytes(here.bytes, bytes)) return;
  } else if (names.length >= offeredMax)
    throw new StoreError(
      'limit-exceeded',
      `${offeredMax} newer files of keys wait here for somebody to open the store with a key`,
    );
  writeDurably(files, { folder: layout.root, path }, bytes);
}

/** Those that are newer than what is in use, the newest first. */
export function readOffered(files: Files, layout: StoreLayout, provider: Provider): Uint8Array[] {
  const names = offeredNames(files, layout);
  if (names.length === 0) return [];
  const { sequence } = describeKeys(provider, readKeyFiles(files, layout, provider));
  const found = names.flatMap((name) => {
    const one = readKeyFile(files, files.join(layout.root, name), provider);
    return 'bytes' in one && one.sequence > sequence ? [one] : [];
  });
  return found.toSorted((a, b) => b.sequence - a.sequence).map(({ bytes }) => bytes);
}

/** Removes what is not newer than what is in use, and what somebody died over. Under the catalog's write lock, where nobody writes any. */
export function dropOffered(files: Files, layout: StoreLayout, provider: Provider): void {
  dropDrafts(files, layout);
  const names = offeredNames(files, layout);
  if (names.length === 0) return;
  const { sequence } = describeKeys(provider, readKeyFiles(files, layout, provider));
  for (const name of names) {
    const path = files.join(layout.root, name);
    const one = readKeyFile(files, path, provider);
    if ('bytes' in one && one.sequence <= sequence) files.removeFile(path);
  }
}

/** Those of files that wait have a name each, so writing the next does not begin them anew. */
function dropDrafts(files: Files, layout: StoreLayout): void {
  for (const name of namesIn(files, layout))
    if (draftName.test(name)) files.removeFile(files.join(layout.root, name));
}

function offeredNames(files: Files, layout: StoreLayout): string[] {
  return namesIn(files, layout).filter((name) => offeredName.test(name));
}

function namesIn(files: Files, layout: StoreLayout): string[] {
  return files.list(layout.root).map((name) => new TextDecoder().decode(name));
}

function newestOf(found: readonly (KeyFile | { readonly error: unknown })[]): KeyFile | undefined {
  const whole = found.filter((one): one is KeyFile => 'bytes' in one);
  return whole.toSorted((a, b) => b.sequence - a.sequence)[0];
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
      return {
        error: new StoreError(
          'corrupt',
          'the file of keys is gone: put back the copy that you kept',
          { path },
          error,
        ),
      };
    // Of a later version, or with costs out of bounds: that is to be told, not to be written over.
    if (StoreError.is(error) && !StoreError.is(error, 'corrupt')) throw error;
    return { error: toStoreError(error, 'reading the file of keys', { path }) };
  }
}
