/** Targets of engine/codec: nodes, records, extents, the root log, the superblock, listings. */
import { decodeNode, encodeNode } from '../../engine/codec/node.ts';
import {
  type StoredChunk,
  chunkCodecs,
  chunkCount,
  entryBytes,
  readEntry,
  writeEntry,
} from '../../engine/codec/chunks.ts';
import { toHex } from '../../engine/codec/bytes.ts';
import { decodeRun } from '../../engine/codec/chunk-run.ts';
import { usualCuts } from '../../engine/codec/fastcdc.ts';
import { decodeManifest, encodeManifest } from '../../engine/codec/manifest.ts';
import { Frame, FrameWriter } from '../../engine/codec/frame.ts';
import {
  type RecordHead,
  readExtent,
  readRecord,
  recordHeadBytes,
  recordOverhead,
  writeRecord,
} from '../../engine/codec/record.ts';
import {
  chainBytes,
  decodeLogHead,
  decodeLogRecord,
  encodeLogHead,
  encodeLogRecord,
  logHeadBytes,
} from '../../engine/codec/root-record.ts';
import { listingFacts, listingNames, listingRecordBytes, packListing } from '../../engine/codec/listing.ts';
import {
  decodeSuperblock,
  defaultParameters,
  encodeSuperblock,
  formatVersion,
} from '../../engine/codec/superblock.ts';
import type { FileFacts } from '../../engine/host.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import type { Random } from '../../test/crash/random.ts';
import { type Outcome, type Target, checkCodec, promise, refusable, same } from '../target.ts';
import { bytesOf, idBytesOf, linkOf, listOf, numberOf, textOf } from './content.ts';

export const node: Target = {
  name: 'node',
  valid: (random) =>
    encodeNode({
      links: listOf(random, random.chance(0.1) ? 300 : 6, linkOf),
      payload: bytesOf(random, 600),
    }),
  check: (bytes) =>
    checkCodec({ codes: ['corrupt', 'incompatible-format'], decode: decodeNode, encode: encodeNode }, bytes),
};

/** Content that is chunked, each chunk stored as it is or compressed. */
function validRecord(random: Random): Uint8Array {
  const content = bytesOf(random, 2500);
  const chunkLog2 = random.pick([9, 10, 12, 16, 24]);
  const chunks = Array.from({ length: chunkCount(content.length, chunkLog2) }, (_, i): StoredChunk => {
    const bytes = content.subarray(i * 2 ** chunkLog2, (i + 1) * 2 ** chunkLog2);
    return random.chance(0.5)
      ? { codec: chunkCodecs.identity, bytes }
      : { codec: chunkCodecs.deflate, bytes: provider.deflate.compress(bytes, 6) };
  });
  const head: RecordHead = {
    kind: random.pick(['raw', 'node']),
    sealed: random.chance(0.5),
    id: idBytesOf(random),
    incarnation: numberOf(random),
    part: random.below(3),
    offset: numberOf(random),
    last: random.chance(0.5),
    size: numberOf(random),
    chunkLog2,
    contentBytes: content.length,
  };
  const stored = chunks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const bytes = new Uint8Array(recordOverhead(content.length, chunkLog2) + stored);
  writeRecord(provider, bytes, 0, { head, chunks });
  return bytes;
}

/** Checksums of the record that begins at 0, as far as its own lengths reach. */
function repairRecord(bytes: Uint8Array): Uint8Array {
  if (bytes.length < recordHeadBytes + 4) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [chunkLog2, contentBytes] = [view.getUint8(7), view.getUint32(68, true)];
  const chunks = chunkLog2 > 24 ? 0 : chunkCount(contentBytes, chunkLog2);
  const tableEnd = recordHeadBytes + entryBytes * chunks;
  if (tableEnd + 4 > bytes.length) return bytes;
  for (let i = 0, place = tableEnd + 4; i < chunks; i++) {
    const { codec, length } = readEntry(view, recordHeadBytes + entryBytes * i);
    const crc = provider.crc32(bytes.subarray(place, place + length));
    writeEntry(view, recordHeadBytes + entryBytes * i, { codec, length, crc });
    place += length;
  }
  view.setUint32(tableEnd, provider.crc32(bytes.subarray(0, tableEnd)), true);
  return bytes;
}

export const record: Target = {
  name: 'record',
  valid: validRecord,
  repair: repairRecord,
  check: (bytes) => {
    const read = refusable(['corrupt', 'incompatible-format'], () => readRecord(provider, bytes, 0));
    checkElsewhere(bytes, read !== undefined);
    if (read === undefined) return 'refused';
    const { head, length } = read;
    promise(length <= bytes.length && length > 0, 'a record ends outside its bytes');
    const content = refusable(['corrupt', 'incompatible-format'], () => read.content());
    if (content === undefined) return 'refused';
    promise(content.length === head.contentBytes, 'content of another length than its head says');
    const middle = read.content(head.contentBytes >> 2, head.contentBytes >> 1);
    const expected = content.subarray(head.contentBytes >> 2, head.contentBytes >> 1);
    promise(same(middle, expected), 'a range is not what the whole has there');
    const chunks = read.encoded(0, head.contentBytes);
    if (chunks !== undefined) {
      const decoded = decodeRun(provider, chunks);
      promise(same(decoded, content.subarray(0, decoded.length)), 'its chunks are not its content');
    }
    const numbers = [head.incarnation, head.offset, head.size, head.part];
    promise(
      numbers.every((value) => Number.isSafeInteger(value)),
      'accepted a number that is no safe integer',
    );
    return 'accepted';
  },
};

/** The same bytes in the middle of other ones mean the same. */
function checkElsewhere(bytes: Uint8Array, accepted: boolean): void {
  const larger = new Uint8Array(bytes.length + 24).fill(0xa5);
  larger.set(bytes, 17);
  const view = larger.subarray(7, 17 + bytes.length);
  const read = refusable(['corrupt', 'incompatible-format'], () => readRecord(provider, view, 10));
  promise((read !== undefined) === accepted, 'a record is judged by where it stands');
}

export const extent: Target = {
  name: 'extent',
  valid: (random) => new Uint8Array(Buffer.concat(listOf(random, 4, validRecord))),
  repair: repairRecord,
  check: (bytes) => {
    let at = 0;
    for (const part of readExtent(provider, bytes)) {
      promise(part.at === at, 'a record begins elsewhere than the one before it ends');
      if ('damage' in part) return 'refused';
      promise(part.record.length >= recordHeadBytes, 'a record without a head');
      at += part.record.length;
    }
    promise(at === bytes.length, 'an extent was read that does not end with its last record');
    return 'accepted';
  },
};

/** A frame of some chunks, each compressed or not. */
function validFrame(random: Random): Uint8Array {
  const content = bytesOf(random, 6000);
  const chunkLog2 = random.pick([9, 10, 12]);
  const writer = new FrameWriter(provider, chunkLog2);
  const pieces = [writer.head()];
  for (let at = 0; at < content.length; at += 2 ** chunkLog2) {
    const bytes = content.subarray(at, at + 2 ** chunkLog2);
    const packed = random.chance(0.5);
    pieces.push(
      ...writer.add(
        packed
          ? { codec: chunkCodecs.deflate, bytes: provider.deflate.compress(bytes, 6) }
          : { codec: chunkCodecs.identity, bytes },
      ),
    );
  }
  pieces.push(...writer.finish(idBytesOf(random), content.length));
  return new Uint8Array(Buffer.concat(pieces));
}

/** Checksums of the trailer and of the index, as far as its own lengths reach. */
function repairFrame(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 72) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = bytes.length - 64;
  const index = bytes.subarray(Math.max(0, end - 12 * view.getUint32(end + 40, true)), end);
  view.setUint32(end + 44, provider.crc32(index), true);
  view.setUint32(end + 56, provider.crc32(bytes.subarray(end, end + 56)), true);
  return bytes;
}

export const frame: Target = {
  name: 'frame',
  valid: validFrame,
  repair: repairFrame,
  check: (bytes) => {
    const read = (position: number, length: number): Uint8Array =>
      bytes.subarray(Math.min(position, bytes.length), Math.min(position + length, bytes.length));
    const content = refusable(['corrupt', 'incompatible-format'], () => {
      const opened = new Frame(provider, read, bytes.length);
      promise(Number.isSafeInteger(opened.size), 'accepted a number that is no safe integer');
      const all = new Uint8Array(Math.min(opened.size, 1_000_000));
      if (all.length > 0) opened.read(read, 0, all.length, all);
      const [from, to] = [all.length >> 2, all.length >> 1];
      const middle = new Uint8Array(to - from);
      if (to > from) opened.read(read, from, to, middle);
      promise(same(middle, all.subarray(from, to)), 'a range is not what the whole has there');
      return all;
    });
    return content === undefined ? 'refused' : 'accepted';
  },
};

export const manifest: Target = {
  name: 'manifest',
  valid: (random) => {
    const level = random.below(8);
    const parts = Array.from({ length: 1 + random.below(random.chance(0.1) ? 300 : 6) }, () => ({
      id: toHex(idBytesOf(random)),
      size: 1 + random.below(1_000_000),
    }));
    if (random.chance(0.5)) return encodeManifest({ level, parts });
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    return encodeManifest({ level, parts, root: { id: toHex(idBytesOf(random)), size, cuts: usualCuts } });
  },
  check: (bytes) =>
    checkCodec(
      { codes: ['corrupt', 'incompatible-format'], decode: decodeManifest, encode: encodeManifest },
      bytes,
    ),
};

/** Records of a log after its head. */
function validLog(random: Random): Uint8Array {
  const parts = [encodeLogHead(idBytesOf(random).subarray(0, 16))];
  let previous: Uint8Array = new Uint8Array(chainBytes);
  for (let sequence = random.below(4); sequence >= 0; sequence--) {
    const change = random.pick(['set', 'delete', 'retain', 'release'] as const);
    const id = Buffer.from(idBytesOf(random)).toString('hex');
    const entry = { sequence: numberOf(random), timeMs: numberOf(random), change, name: textOf(random, 30) };
    const { bytes, hash } = encodeLogRecord(
      provider,
      change === 'delete' ? entry : { ...entry, id },
      previous,
    );
    parts.push(bytes);
    previous = hash;
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** Chains the records anew, as far as their lengths lead. */
function repairLog(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let previous: Uint8Array = new Uint8Array(chainBytes);
  for (let at = logHeadBytes; at + 4 + chainBytes < bytes.length;) {
    const length = view.getUint32(at, true);
    if (length < 4 + chainBytes || at + length > bytes.length) break;
    const body = bytes.subarray(at, at + length - chainBytes);
    previous = provider.sha256(new Uint8Array(Buffer.concat([previous, body]))).slice(0, chainBytes);
    bytes.set(previous, at + body.length);
    at += length;
  }
  return bytes;
}

export const rootLog: Target = {
  name: 'root-log',
  valid: validLog,
  repair: repairLog,
  check: (bytes) => {
    const storeId = refusable([], () => ({ head: decodeLogHead(bytes) }))?.head;
    if (storeId === undefined) return 'refused';
    promise(
      same(encodeLogHead(storeId), bytes.subarray(0, logHeadBytes)),
      'accepted a head that encoding does not give back',
    );
    let at = logHeadBytes;
    let previous: Uint8Array = new Uint8Array(chainBytes);
    for (;;) {
      const read = refusable([], () => ({ record: decodeLogRecord(provider, bytes, at, previous) }))?.record;
      if (read === undefined) return at === bytes.length ? 'accepted' : 'refused';
      const { entry, hash, length } = read;
      promise(length > 0 && at + length <= bytes.length, 'a record ends outside its bytes');
      promise(
        Number.isSafeInteger(entry.sequence) && Number.isSafeInteger(entry.timeMs),
        'accepted a number that is no safe integer',
      );
      const again = encodeLogRecord(provider, entry, previous);
      promise(
        same(again.bytes, bytes.subarray(at, at + length)),
        'accepted bytes that encoding does not give back',
      );
      at += length;
      previous = hash;
    }
  },
};

export const superblock: Target = {
  name: 'superblock',
  valid: (random) =>
    encodeSuperblock(provider, {
      format: formatVersion,
      storeId: Buffer.from(idBytesOf(random).subarray(0, 16)).toString('hex'),
      createdMs: numberOf(random),
      compat: listOf(random, 2, (random) => textOf(random, 8).replaceAll('\n', '')),
      roCompat: [],
      incompat: [],
      parameters: { ...defaultParameters, smallMax: random.below(1024 * 1024) },
    }),
  repair: (bytes) => {
    const [title, json] = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).split('\n');
    if (json === undefined) return bytes;
    return new TextEncoder().encode(
      `${title}\n${json}\n${provider.sha256Hex(new TextEncoder().encode(json))}\n`,
    );
  },
  check: (bytes) => {
    const read = refusable(['not-a-store', 'corrupt', 'incompatible-format'], () =>
      decodeSuperblock(provider, bytes),
    );
    if (read === undefined) return 'refused';
    promise(
      typeof read.storeId === 'string' && /^[0-9a-f]{32}$/.test(read.storeId),
      'accepted a store id that is none',
    );
    promise(Number.isSafeInteger(read.format) && read.format >= 0, 'accepted a format that is no number');
    promise(
      [read.compat, read.roCompat, read.incompat].every(
        (flags) => Array.isArray(flags) && flags.every((flag) => typeof flag === 'string'),
      ),
      'accepted flags that are no texts',
    );
    const { smallMax, extentBytes, chunkBytes, volumeBytesMax } = read.parameters;
    promise(
      [smallMax, extentBytes, chunkBytes, volumeBytesMax].every((value) => Number.isSafeInteger(value)),
      'accepted parameters that are no numbers',
    );
    return 'accepted';
  },
};

const nameSeparator = 0;

/** A listing crosses threads, not disks, so nothing is refused: columns go in and come out. */
function listingOf(bytes: Uint8Array): { entries: { name: Uint8Array; facts: FileFacts }[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: { name: Uint8Array; facts: FileFacts }[] = [];
  for (let at = 0; at + 48 <= bytes.length; at += 48) {
    const name = new TextEncoder().encode(String(entries.length).padStart(6, '0'));
    const facts: FileFacts = {
      kind: (['file', 'folder', 'link', 'other'] as const)[bytes[at]! & 3]!,
      mode: view.getUint16(at + 2, true),
      links: view.getUint32(at + 4, true),
      size: Number(view.getBigUint64(at + 8, true) & 0x1f_ffff_ffff_ffffn),
      mtimeNs: view.getBigInt64(at + 16, true),
      ctimeNs: view.getBigInt64(at + 24, true),
      dev: view.getBigUint64(at + 32, true),
      ino: view.getBigUint64(at + 40, true),
    };
    entries.push({ name, facts });
  }
  return { entries };
}

export const listing: Target = {
  name: 'listing',
  valid: (random) => bytesOf(random, 20 * listingRecordBytes),
  check: (bytes): Outcome => {
    const { entries } = listingOf(bytes);
    const packed = packListing(entries, []);
    promise(packed.count === entries.length, 'a listing of another length');
    promise(
      packed.names.filter((byte) => byte === nameSeparator).length === entries.length,
      'names that do not end',
    );
    const names = listingNames(packed);
    entries.forEach(({ name, facts }, i) => {
      promise(same(new TextEncoder().encode(names[i]), name), 'a name came back changed');
      const back = listingFacts(packed, i);
      for (const key of Object.keys(facts) as (keyof FileFacts)[])
        promise(back[key] === facts[key], `${key} came back changed`);
    });
    // Facts of any bytes whatever are numbers: what reads them never has to expect more.
    const count = Math.floor(bytes.length / listingRecordBytes);
    for (let i = 0; i < count; i++)
      refusable([], () => listingFacts({ ...packed, records: bytes, count }, i));
    return 'accepted';
  },
};
