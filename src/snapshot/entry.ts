/** One entry of a snapshot's folder: what is kept of a file, a folder or a link, and its bytes in the folder's map. */
import { type BlobId, StoreError } from '../../engine/index.ts';
import { CborReader, CborWriter } from '../../sync/tree/cbor.ts';
import type { Link, MapEntry } from '../../sync/tree/rules.ts';
import { readName, targetBytesMax, toUtf8, utf8 } from './names.ts';

interface Common {
  readonly name: string;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
}

export interface FileEntry extends Common {
  readonly type: 'file';
  readonly id: BlobId;
  readonly size: number;
}

export interface FolderEntry extends Common {
  readonly type: 'folder';
  /** The folder's map, see sync/tree. */
  readonly id: BlobId;
}

export interface LinkEntry extends Common {
  readonly type: 'link';
  readonly target: string;
}

export type SnapshotEntry = FileEntry | FolderEntry | LinkEntry;

/** An entry beside its name, which is the key. */
export type EntryFacts = Omit<FileEntry, 'name'> | Omit<FolderEntry, 'name'> | Omit<LinkEntry, 'name'>;

const types = ['file', 'folder', 'link'] as const;
const modeMax = 0o7777;
const nsPerSecond = 1_000_000_000n;
const none: readonly Link[] = [];
const writer = new CborWriter();

/** The pair of the folder's map: value `[type, mode, seconds, nanoseconds, size | target]`, the content or the folder as its link. */
export function encodeEntry(entry: SnapshotEntry): MapEntry;
export function encodeEntry(entry: SnapshotEntry | EntryFacts, key: Uint8Array): MapEntry;
export function encodeEntry(
  entry: EntryFacts & { readonly name?: string },
  key: Uint8Array = toUtf8(entry.name!),
): MapEntry {
  const { seconds, nanoseconds } = toMicroseconds(entry.mtimeNs);
  const parts = entry.type === 'folder' ? 4 : 5;
  writer
    .array(parts)
    .integer(types.indexOf(entry.type))
    .integer(entry.mode)
    .integer(seconds)
    .integer(nanoseconds);
  if (entry.type === 'file') writer.integer(entry.size);
  if (entry.type === 'link') writer.bytes(toUtf8(entry.target));
  const links: readonly Link[] =
    entry.type === 'link' ? none : [{ kind: entry.type === 'file' ? 'raw' : 'node', id: entry.id }];
  return { key, value: writer.finish(), links };
}

/** Reads an entry back; `corrupt` for whatever `encodeEntry` does not write, hostile names included. */
export function decodeEntry({ key, value, links }: MapEntry): SnapshotEntry {
  const name = readName(key);
  const reader = new CborReader(value, `an entry of a folder (${name})`);
  const parts = reader.array();
  const type = types[reader.unsigned(types.length - 1)]!;
  if (parts !== (type === 'folder' ? 4 : 5)) throw reader.bad('has other parts than it should');
  const mode = reader.unsigned(modeMax);
  const seconds = reader.integer();
  const nanoseconds = reader.unsigned(999_999_999);
  if (nanoseconds % 1000 !== 0) throw reader.bad('has a time finer than a microsecond');
  const common = { name, mode, mtimeNs: BigInt(seconds) * nsPerSecond + BigInt(nanoseconds) };
  const entry = readRest(reader, { type, common, link: links[0] });
  reader.end();
  if (links.length !== (type === 'link' ? 0 : 1)) throw reader.bad('has a wrong number of links');
  return entry;
}

interface Rest {
  readonly type: SnapshotEntry['type'];
  readonly common: Common;
  readonly link: Link | undefined;
}

function readRest(reader: CborReader, { type, common, link }: Rest): SnapshotEntry {
  if (type === 'link') return { type, ...common, target: readTarget(reader.bytes(targetBytesMax)) };
  if (link?.kind !== (type === 'file' ? 'raw' : 'node')) throw reader.bad('has a link of the wrong kind');
  if (type === 'folder') return { type, ...common, id: link.id };
  return { type, ...common, id: link.id, size: reader.unsigned(Number.MAX_SAFE_INTEGER) };
}

function readTarget(bytes: Uint8Array): string {
  const target = utf8(bytes);
  if (target === undefined || target === '' || target.includes('\0'))
    throw new StoreError('corrupt', 'refused a link whose target is no path');
  return target;
}

/**
 * Node sets times as a double, exact to a quarter of a microsecond in this century. Kept to the nearest microsecond, a time survives
 * being restored, and a restored folder imports to the same tree.
 */
function toMicroseconds(ns: bigint): { readonly seconds: number; readonly nanoseconds: number } {
  const up = ns + 500n;
  const [seconds, rest] = [Number(up / nsPerSecond), Number(up % nsPerSecond)];
  const micro = Math.floor(rest / 1000) * 1000;
  return micro < 0 ? { seconds: seconds - 1, nanoseconds: micro + 1e9 } : { seconds, nanoseconds: micro };
}
