/** Whether stored bytes are what their name says, and which blobs they link to: the one place that knows, for whoever has no row to go by. */
import type { Link } from '../api.ts';
import { equalBytes, fromHex } from '../codec/bytes.ts';
import { Frame } from '../codec/frame.ts';
import { decodeNode } from '../codec/node.ts';
import type { Provider } from '../codec/provider.ts';
import { type RecordHead, readRecord } from '../codec/record.ts';
import { StoreError } from '../errors.ts';
import type { OpenFile } from '../host.ts';
import type { PartName } from '../volume.ts';
import { FramedFile, Scratch } from './blob-file.ts';
import { type ContentDigest, Digester } from './digest.ts';

/** Bytes hashed at once. */
const sliceBytes = 1024 * 1024;

/** Whether content belongs to a name, given its sha256. */
function belongsTo(id: Uint8Array, digest: Uint8Array): boolean {
  return equalBytes(id, digest);
}

/** Whether these bytes, all of them, are the content of the blob of this name. */
export function verifyContent(provider: Provider, id: Uint8Array, content: Uint8Array): boolean {
  return belongsTo(id, provider.sha256(content));
}

/** The links of a node. `corrupt` when the content is no node. */
export function linksOf(content: Uint8Array): readonly Link[] {
  return decodeNode(content).links;
}

export interface VerifiedRecord {
  readonly head: RecordHead;
  readonly content: Uint8Array;
  /** Bytes the record takes. */
  readonly length: number;
}

/** The record that these bytes begin with, when all of it is right; `corrupt` with the reason otherwise. `id`: the one it must have. */
export function verifyRecord(provider: Provider, bytes: Uint8Array, id?: Uint8Array): VerifiedRecord {
  const record = readRecord(provider, bytes, 0);
  const { head, length } = record;
  const content = record.content();
  if (id !== undefined && !equalBytes(head.id, id)) throw new StoreError('corrupt', 'it is of another blob');
  if (head.size !== content.length || !verifyContent(provider, head.id, content))
    throw new StoreError('corrupt', 'its content does not hash to its id');
  if (head.kind === 'node') linksOf(content);
  return { head, content, length };
}

/** What the file of a part holds, when that is right; undefined when it is not. Closes the file. O(bytes of the file). */
export function verifyFile(
  { provider, chunkBytes }: { readonly provider: Provider; readonly chunkBytes: number },
  file: OpenFile,
  name: PartName,
): (ContentDigest & { readonly stored: number }) | undefined {
  try {
    const stored = file.facts().size;
    const digester = new Digester(provider, chunkBytes);
    const read = new Scratch().reader(file);
    if (name.framed === true) {
      const frame = new Frame(provider, read, stored);
      const { size } = frame;
      const blob = new FramedFile(file, frame, read);
      for (let at = 0; at < size; at += sliceBytes)
        digester.update(blob.read(at, Math.min(size, at + sliceBytes)));
    } else {
      for (let at = 0; at < stored; at += sliceBytes) digester.update(read(at, sliceBytes));
    }
    const digest = digester.finish();
    if (!belongsTo(fromHex(name.id)!, digest.id)) return undefined;
    return { ...digest, stored, ...(name.framed === true ? { sums: new Uint8Array(0) } : {}) };
  } catch (error) {
    if (StoreError.is(error, 'corrupt')) return undefined;
    throw error;
  } finally {
    file.close();
  }
}
