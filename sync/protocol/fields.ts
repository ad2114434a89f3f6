/** The fields of messages: ids, names, lists and numbers, each read in its one form and within its limit. */
import { fromHex, toHex } from '../../engine/codec/bytes.ts';
import type { CborReader, CborWriter } from '../tree/cbor.ts';
import * as limits from './limits.ts';

export type BlobId = string;
export type LinkKind = 'raw' | 'node';

export const kinds: readonly LinkKind[] = ['raw', 'node'];
export const empty: Uint8Array = new Uint8Array(0);

export function expectParts(reader: CborReader, parts: number, wanted: number): void {
  if (parts !== wanted) throw reader.bad('has other parts than it should');
}

export function version(reader: CborReader): number {
  return reader.unsigned(limits.versionNumberMax);
}

export function between(reader: CborReader, min: number, max: number): number {
  const value = reader.unsigned(max);
  if (value < min) throw reader.bad(`has a number ${value} under ${min}`);
  return value;
}

export function list<Item>(reader: CborReader, max: number, item: () => Item): Item[] {
  const count = reader.array();
  if (count > max) throw reader.bad(`has a list of ${count}, over ${max}`);
  return Array.from({ length: count }, item);
}

export function distinct<Root extends { readonly name: string }>(reader: CborReader, roots: Root[]): Root[] {
  if (new Set(roots.map(({ name }) => name)).size !== roots.length) throw reader.bad('names a root twice');
  return roots;
}

export function readKind(reader: CborReader): LinkKind {
  return kinds[reader.unsigned(kinds.length - 1)]!;
}

export function readId(reader: CborReader): BlobId {
  const bytes = reader.bytes(32);
  if (bytes.length !== 32) throw reader.bad('has an id of another length');
  return toHex(bytes);
}

export function readOptional(reader: CborReader): BlobId | null {
  const bytes = reader.bytes(32);
  if (bytes.length !== 32 && bytes.length !== 0) throw reader.bad('has an id of another length');
  return bytes.length === 0 ? null : toHex(bytes);
}

/** A name that a store would take: 1 to 1,024 bytes of UTF-8 without NUL. */
export function readName(reader: CborReader): string {
  const name = readText(reader, limits.nameBytesMax);
  if (name === '' || name.includes('\0')) throw reader.bad('has a name that is none');
  return name;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function readText(reader: CborReader, max: number): string {
  const bytes = reader.bytes(max);
  try {
    return utf8.decode(bytes);
  } catch {
    throw reader.bad('has text that is not UTF-8');
  }
}

/** For people only, and maybe cut within a letter. Control characters of a stranger do not reach a terminal. */
export function lossyText(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd');
}

export function writeIds(writer: CborWriter, ids: readonly BlobId[]): void {
  writer.array(ids.length);
  for (const id of ids) writer.bytes(raw(id));
}

export function raw(id: BlobId): Uint8Array {
  const bytes = fromHex(id);
  if (bytes?.length !== 32) throw new Error(`holdfast bug: ${id} is no id`);
  return bytes;
}

export function optional(id: BlobId | null): Uint8Array {
  return id === null ? empty : raw(id);
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
