/** Whether stored bytes are what their name says, and which blobs they link to: the one place that knows, for whoever has no row to go by. */
import { equalBytes, fromHex } from '../codec/bytes.ts';
import { Frame } from '../codec/frame.ts';
import type { Provider } from '../codec/provider.ts';
import { type RecordHead, readRecord } from '../codec/record.ts';
import { StoreError } from '../errors.ts';
import type { OpenFile } from '../host.ts';
import type { BlobFacts } from '../keys/realm.ts';
import type { PartName } from '../volume.ts';
import { FramedFile, Scratch } from './blob-file.ts';
import type { Contents, NamedLink } from './contents.ts';
import { isDamage } from './damage.ts';
import { Digester } from './digest.ts';

/** Bytes hashed at once. */
const sliceBytes = 1024 * 1024;

interface VerifyContext {
  readonly provider: Provider;
  readonly contents: Contents;
}

export interface VerifiedRecord {
  readonly head: RecordHead;
  /** Its content as it is stored. */
  readonly stored: Uint8Array;
  readonly facts: BlobFacts | undefined;
  /** Of a node. */
  readonly links: readonly NamedLink[];
  /** Bytes the record takes. */
  readonly length: number;
}

/**
 * The record that these bytes begin with, when all of it is right; `corrupt` or `tampered` with the reason otherwise, `wrong-key` or
 * `incompatible-format` when it takes another key or version to tell. `name`: the one it must have on disk.
 */
export function verifyRecord(
  { provider, contents }: VerifyContext,
  bytes: Uint8Array,
  name?: Uint8Array,
): VerifiedRecord {
  const record = readRecord(provider, bytes, 0);
  const { head, length } = record;
  if (name !== undefined && !equalBytes(head.id, name)) throw wrong('it is of another blob');
  checkForm(contents, head.sealed);
  const stored = record.content();
  if (head.size !== stored.length) throw wrong('it is of another size');
  const copy = { kind: head.kind, name: head.id, size: stored.length };
  const facts = contents.check(copy, stored);
  const links = head.kind === 'node' ? contents.linksOf(copy, stored) : [];
  return { head, stored, facts, links, length };
}

export interface VerifiedFile {
  /** Of its content as it is stored. */
  readonly size: number;
  /** Bytes of the file. */
  readonly stored: number;
  /** Chunk checksums; of a frame, which has its own, none. */
  readonly sums: Uint8Array;
  readonly facts: BlobFacts | undefined;
}

/** The same of the file of a part. Closes the file. O(bytes of the file). */
export function verifyFile(
  context: VerifyContext & { readonly chunkBytes: number },
  file: OpenFile,
  name: PartName,
): VerifiedFile {
  try {
    const stored = file.facts().size;
    return name.framed === true
      ? verifyFrame(context, file, { name, stored })
      : verifyBare(context, file, { name, stored });
  } finally {
    file.close();
  }
}

function verifyFrame(
  { provider, contents }: VerifyContext,
  file: OpenFile,
  { name, stored }: { readonly name: PartName; readonly stored: number },
): VerifiedFile {
  const read = new Scratch().reader(file);
  const frame = new Frame(provider, read, stored);
  const bytes = fromHex(name.id)!;
  if (!equalBytes(frame.id, bytes)) throw wrong('it is of another blob');
  checkForm(contents, frame.sealed);
  const { size } = frame;
  const steps = contents.verify({ kind: 'raw', name: bytes, size }, new FramedFile(file, frame, read));
  for (;;) {
    const step = steps.next();
    if (step.done === true) return { size, stored, sums: new Uint8Array(0), facts: step.value };
  }
}

/** A file that is the content: there are none in an encrypted store. */
function verifyBare(
  { provider, chunkBytes, contents }: VerifyContext & { readonly chunkBytes: number },
  file: OpenFile,
  { name, stored }: { readonly name: PartName; readonly stored: number },
): VerifiedFile {
  checkForm(contents, false);
  const digester = new Digester(provider, chunkBytes);
  const read = new Scratch().reader(file);
  for (let at = 0; at < stored; at += sliceBytes) digester.update(read(at, sliceBytes));
  const { id, size, sums } = digester.finish();
  if (!equalBytes(id, fromHex(name.id)!)) throw wrong('its content does not hash to its name');
  return { size, stored, sums, facts: undefined };
}

/** What a verification finds; undefined where that is damage, `unreadable` when it takes another key or version to tell. */
export function outcomeOf<Result>(verify: () => Result): Result | 'unreadable' | undefined {
  try {
    return verify();
  } catch (error) {
    if (isDamage(error)) return undefined;
    if (isUnknown(error)) return 'unreadable';
    throw error;
  }
}

/** Whether a failure says that nothing can be told here: it takes another key, or another version. */
export function isUnknown(error: unknown): error is StoreError {
  return StoreError.is(error, 'wrong-key') || StoreError.is(error, 'incompatible-format');
}

function checkForm(contents: Contents, sealed: boolean): void {
  if (sealed === contents.sealed) return;
  throw wrong(
    sealed
      ? 'it is sealed, and this store is not encrypted'
      : 'it is not sealed, and this store is encrypted',
  );
}

function wrong(reason: string): StoreError {
  return new StoreError('corrupt', reason);
}
