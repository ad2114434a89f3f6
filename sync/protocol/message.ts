/** The messages of the protocol as frame headers: one encoding each, every other refused. */
import { toHex } from '../../engine/codec/bytes.ts';
import { type ErrorCode, StoreError, errorCodes } from '../../engine/errors.ts';
import { CborReader, CborWriter } from '../tree/cbor.ts';
import {
  type BlobId,
  type LinkKind,
  between,
  distinct,
  empty,
  expectParts,
  kinds,
  list,
  lossyText,
  optional,
  raw,
  readId,
  readKind,
  readName,
  readOptional,
  readText,
  text,
  version,
  writeIds,
} from './fields.ts';
import * as limits from './limits.ts';
import type {
  AskedRoot,
  BlobForm,
  FoundRoot,
  HelloMessage,
  Namespace,
  OfferedRoot,
  RootHistory,
  Want,
} from './message-parts.ts';

export type {
  AskedRoot,
  BlobForm,
  BlobId,
  FoundRoot,
  HelloMessage,
  LinkKind,
  Namespace,
  OfferedRoot,
  RootHistory,
  Want,
};

export type Message =
  | HelloMessage
  | { readonly type: 'ask'; readonly all: boolean; readonly roots: readonly AskedRoot[] }
  | { readonly type: 'offer'; readonly roots: readonly OfferedRoot[] }
  | { readonly type: 'roots'; readonly roots: readonly FoundRoot[] }
  | { readonly type: 'want'; readonly wants: readonly Want[] }
  | {
      readonly type: 'blob';
      readonly kind: LinkKind;
      readonly id: BlobId;
      readonly form: BlobForm;
      readonly size: number;
      readonly offset: number;
    }
  | { readonly type: 'absent'; readonly kind: LinkKind; readonly id: BlobId }
  /** All that the sender believes missing under the root of this number has been sent. */
  | { readonly type: 'streamed'; readonly root: number }
  | { readonly type: 'credit'; readonly bytes: number }
  | {
      readonly type: 'done';
      readonly changed: readonly boolean[];
      readonly blobs: number;
      readonly bytes: number;
    }
  | { readonly type: 'error'; readonly code: ErrorCode; readonly message: string }
  /** Nothing more is asked of the peer. */
  | { readonly type: 'bye' }
  /** Still at work. */
  | { readonly type: 'alive' }
  /**
   * A part of an offline stream begins: its number, the digest that the part before ended with, and how many of the frames after
   * `roots` only repeat the nodes above the next blob, for whoever begins to read here.
   */
  | { readonly type: 'part'; readonly number: number; readonly digest: string; readonly repeated: number }
  /** A part ends: `digest` is over the digest before it and all its bytes up to here. `last`: so does the stream. */
  | { readonly type: 'seal'; readonly last: boolean; readonly digest: string }
  /** Where the roots that follow stand in the sender's root log, in their order. */
  | { readonly type: 'history'; readonly roots: readonly RootHistory[] }
  /** By locators: asks for what a replica is made of. */
  | { readonly type: 'seed' }
  /** By locators: a file of keys of the sender's. `parameters`: of its store, in the last one that answers `seed`; empty in every other. */
  | { readonly type: 'keys'; readonly file: Uint8Array; readonly parameters: Uint8Array };

/** The numbers of the codecs in stored chunks. */
export const formNumbers: Readonly<Record<BlobForm, number>> = {
  content: 0,
  deflate: 1,
  zstd: 2,
  manifest: 3,
};
const magic = new TextEncoder().encode('holdfast sync');
const types = [
  'hello',
  'ask',
  'offer',
  'roots',
  'want',
  'blob',
  'absent',
  'streamed',
  'credit',
  'done',
  'error',
  'bye',
  'alive',
  'part',
  'seal',
  'history',
  'seed',
  'keys',
] as const satisfies readonly Message['type'][];
const namespaces: readonly Namespace[] = ['ids', 'locators'];
export const forms: readonly BlobForm[] = ['content', 'deflate', 'zstd', 'manifest'];

/** The header of a message. What a peer may not send is not sent either: a value over a limit is a bug of the caller. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new CborWriter();
  const open = (fields: number): CborWriter => writer.array(1 + fields).integer(types.indexOf(message.type));
  switch (message.type) {
    case 'hello': {
      open(8).bytes(magic).integer(message.versions.min).integer(message.versions.max);
      writer.bytes(text(message.storeId)).integer(namespaces.indexOf(message.namespace)).bytes(message.realm);
      writer.array(2).integer(message.payloadBytes).integer(message.windowBytes);
      writer.array(message.forms.length);
      for (const form of message.forms) writer.integer(form);
      break;
    }
    case 'ask':
      open(2).integer(Number(message.all)).array(message.roots.length);
      for (const { name, haves, seen = [] } of message.roots) {
        writeIds(writer.array(3).bytes(text(name)), haves);
        writeIds(writer, seen);
      }
      break;
    case 'offer':
      open(1).array(message.roots.length);
      for (const { name, id, expect, force, marks } of message.roots) {
        writer.array(5).bytes(text(name)).bytes(raw(id));
        writer.integer(force === true ? 3 : expect === undefined ? 0 : expect === null ? 1 : 2);
        writer.bytes(expect === undefined || expect === null ? empty : raw(expect));
        writeIds(writer, marks);
      }
      break;
    case 'roots':
      open(1).array(message.roots.length);
      for (const { name, id, kind, base } of message.roots) {
        writer.array(4).bytes(text(name)).bytes(optional(id));
        writer.integer(kinds.indexOf(kind)).bytes(optional(base));
      }
      break;
    case 'want':
      open(1).array(message.wants.length);
      for (const { kind, id, from } of message.wants)
        writer.array(3).integer(kinds.indexOf(kind)).bytes(raw(id)).integer(from);
      break;
    case 'blob':
      open(5).integer(kinds.indexOf(message.kind)).bytes(raw(message.id));
      writer.integer(formNumbers[message.form]).integer(message.size).integer(message.offset);
      break;
    case 'absent':
      open(2).integer(kinds.indexOf(message.kind)).bytes(raw(message.id));
      break;
    case 'streamed':
      open(1).integer(message.root);
      break;
    case 'credit':
      open(1).integer(message.bytes);
      break;
    case 'done':
      open(3).array(message.changed.length);
      for (const changed of message.changed) writer.integer(Number(changed));
      writer.integer(message.blobs).integer(message.bytes);
      break;
    case 'error':
      open(2).bytes(text(message.code)).bytes(text(message.message).subarray(0, limits.messageBytesMax));
      break;
    case 'bye':
    case 'alive':
    case 'seed':
      open(0);
      break;
    case 'part':
      open(3).integer(message.number).bytes(raw(message.digest)).integer(message.repeated);
      break;
    case 'seal':
      open(2).integer(Number(message.last)).bytes(raw(message.digest));
      break;
    case 'keys':
      open(2).bytes(message.file).bytes(message.parameters);
      break;
    case 'history':
      open(1).array(message.roots.length);
      for (const { sequence, seen } of message.roots) {
        writer.array(2).integer(sequence).array(seen.length);
        for (const one of seen) writer.integer(one);
      }
      break;
  }
  return writer.finish();
}

/** Reads a header back; `corrupt` for anything but the one encoding, `limit-exceeded` is `corrupt` too where a number is too large. */
export function decodeMessage(header: Uint8Array): Message {
  const reader = new CborReader(header, 'a message of holdfast sync');
  const parts = reader.array();
  const type = types[reader.unsigned(types.length - 1)]!;
  const message = readers[type](reader, parts - 1);
  reader.end();
  return message;
}

type Read = (reader: CborReader, parts: number) => Message;

const readers: Readonly<Record<Message['type'], Read>> = {
  hello(reader, parts) {
    if (parts < 3) throw reader.bad('is a hello with too few parts');
    const said = reader.bytes(magic.length);
    if (toHex(said) !== toHex(magic)) throw reader.bad('is the hello of something else');
    const versions = { min: version(reader), max: version(reader) };
    if (versions.min < 1 || versions.min > versions.max) throw reader.bad('names versions that cannot be');
    if (versions.min > limits.versionMax || versions.max < limits.versionMin)
      throw new StoreError(
        'incompatible-format',
        `the peer speaks versions ${versions.min} to ${versions.max} of the protocol, we ${limits.versionMin} to ${limits.versionMax}`,
      );
    expectParts(reader, parts, 8);
    const storeId = readText(reader, limits.storeIdBytesMax);
    const namespace = namespaces[reader.unsigned(namespaces.length - 1)]!;
    const realm = reader.bytes(limits.realmBytesMax).slice();
    if (reader.array() !== 2) throw reader.bad('has other limits than it should');
    const payloadBytes = between(reader, limits.payloadBytesMin, limits.payloadBytesMax);
    const windowBytes = between(reader, payloadBytes, limits.windowBytesMax);
    const forms = list(reader, limits.formsMax, () => reader.unsigned(limits.formNumberMax));
    if (forms.some((form, i) => i > 0 && forms[i - 1]! >= form)) throw reader.bad('has forms out of order');
    return { type: 'hello', versions, storeId, namespace, realm, payloadBytes, windowBytes, forms };
  },
  ask(reader, parts) {
    expectParts(reader, parts, 2);
    const all = reader.unsigned(1) === 1;
    const roots = list(reader, limits.rootsMax, () => {
      if (reader.array() !== 3) throw reader.bad('has a malformed root');
      const ids = (): BlobId[] => list(reader, limits.havesMax, () => readId(reader));
      return { name: readName(reader), haves: ids(), seen: ids() };
    });
    return { type: 'ask', all, roots: distinct(reader, roots) };
  },
  offer(reader, parts) {
    expectParts(reader, parts, 1);
    const roots = list(reader, limits.rootsMax, (): OfferedRoot => {
      if (reader.array() !== 5) throw reader.bad('has a malformed root');
      const name = readName(reader);
      const id = readId(reader);
      const how = reader.unsigned(3);
      const expected = reader.bytes(32);
      if (expected.length !== (how === 2 ? 32 : 0)) throw reader.bad('has a malformed expectation');
      const expect = how === 2 ? toHex(expected) : null;
      const marks = list(reader, limits.havesMax, () => readId(reader));
      const expects = how === 0 ? {} : how === 3 ? { force: true as const } : { expect };
      return { name, id, marks, ...expects };
    });
    if (roots.length === 0) throw reader.bad('offers nothing');
    return { type: 'offer', roots: distinct(reader, roots) };
  },
  roots(reader, parts) {
    expectParts(reader, parts, 1);
    const roots = list(reader, limits.rootsMax, () => {
      if (reader.array() !== 4) throw reader.bad('has a malformed root');
      const name = readName(reader);
      const id = readOptional(reader);
      const root = { name, id, kind: readKind(reader), base: readOptional(reader) };
      if (root.id === null && root.base !== null) throw reader.bad('has a base for nothing');
      return root;
    });
    return { type: 'roots', roots: distinct(reader, roots) };
  },
  want(reader, parts) {
    expectParts(reader, parts, 1);
    const wants = list(reader, limits.wantIdsMax, () => {
      if (reader.array() !== 3) throw reader.bad('has a malformed want');
      return { kind: readKind(reader), id: readId(reader), from: reader.unsigned(Number.MAX_SAFE_INTEGER) };
    });
    if (wants.length === 0) throw reader.bad('wants nothing');
    return { type: 'want', wants };
  },
  blob(reader, parts) {
    expectParts(reader, parts, 5);
    const kind = readKind(reader);
    const id = readId(reader);
    const form = forms[reader.unsigned(forms.length - 1)]!;
    const size = reader.unsigned(Number.MAX_SAFE_INTEGER);
    return { type: 'blob', kind, id, form, size, offset: reader.unsigned(size) };
  },
  absent(reader, parts) {
    expectParts(reader, parts, 2);
    return { type: 'absent', kind: readKind(reader), id: readId(reader) };
  },
  streamed(reader, parts) {
    expectParts(reader, parts, 1);
    return { type: 'streamed', root: reader.unsigned(limits.rootsMax - 1) };
  },
  credit(reader, parts) {
    expectParts(reader, parts, 1);
    return { type: 'credit', bytes: between(reader, 1, limits.windowBytesMax) };
  },
  done(reader, parts) {
    expectParts(reader, parts, 3);
    const changed = list(reader, limits.rootsMax, () => reader.unsigned(1) === 1);
    const blobs = reader.unsigned(Number.MAX_SAFE_INTEGER);
    return { type: 'done', changed, blobs, bytes: reader.unsigned(Number.MAX_SAFE_INTEGER) };
  },
  error(reader, parts) {
    expectParts(reader, parts, 2);
    const said = readText(reader, limits.codeBytesMax);
    // A code of a later version: something failed over there, and we cannot tell what.
    const code = errorCodes.find((known) => known === said) ?? 'unavailable';
    return { type: 'error', code, message: lossyText(reader.bytes(limits.messageBytesMax)) };
  },
  bye(reader, parts) {
    expectParts(reader, parts, 0);
    return { type: 'bye' };
  },
  alive(reader, parts) {
    expectParts(reader, parts, 0);
    return { type: 'alive' };
  },
  seed(reader, parts) {
    expectParts(reader, parts, 0);
    return { type: 'seed' };
  },
  keys(reader, parts) {
    expectParts(reader, parts, 2);
    const file = reader.bytes(limits.keysBytesMax).slice();
    return { type: 'keys', file, parameters: reader.bytes(limits.parametersBytesMax).slice() };
  },
  part(reader, parts) {
    expectParts(reader, parts, 3);
    const number = reader.unsigned(limits.partsMax);
    return { type: 'part', number, digest: readId(reader), repeated: reader.unsigned(limits.repeatedMax) };
  },
  seal(reader, parts) {
    expectParts(reader, parts, 2);
    return { type: 'seal', last: reader.unsigned(1) === 1, digest: readId(reader) };
  },
  history(reader, parts) {
    expectParts(reader, parts, 1);
    const sequence = (): number => reader.unsigned(Number.MAX_SAFE_INTEGER);
    const roots = list(reader, limits.rootsMax, () => {
      if (reader.array() !== 2) throw reader.bad('has a malformed root');
      return { sequence: sequence(), seen: list(reader, limits.havesMax, sequence) };
    });
    return { type: 'history', roots };
  },
};
