/** A SQLite volume whose records are known byte by byte, and ways to damage its file: what tests of salvage go by. */
import { readFileSync, rmSync, mkdtempSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chunkCodecs } from '../../engine/codec/chunks.ts';
import { recordOverhead, writeRecord } from '../../engine/codec/record.ts';
import { salvageRecords } from '../../engine/codec/salvage.ts';
import type { DatabaseClass } from '../../engine/driver.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { SqliteVolume, type SqliteVolumeOptions } from '../../engine/volumes/sqlite.ts';
import { type Random, seededBytes, seededRandom } from '../crash/random.ts';

const driver = createRequire(import.meta.url)('better-sqlite3') as DatabaseClass;
const chunkLog2 = 12;

/** A record, and where its bytes lie in the file: ranges from..to. */
export interface PlacedRecord {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

export interface KnownVolume {
  readonly file: Uint8Array;
  readonly records: readonly PlacedRecord[];
}

/** A volume as the engine writes it, of several commits with records of all sizes. */
export function makeVolume(
  seed: number,
  how: {
    readonly commits: number;
    readonly extentBytes: number;
    readonly records?: number;
    readonly sizes?: readonly number[];
  },
): KnownVolume {
  const random = seededRandom(seed, 77);
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-volume-'));
  const path = join(folder, 'volume.db');
  const options: SqliteVolumeOptions = {
    driver,
    provider,
    identity: { storeId: 'a'.repeat(32), volumeId: 'b'.repeat(32) },
    extentBytes: how.extentBytes,
    durability: 'relaxed',
    platform: process.platform,
  };
  SqliteVolume.create(path, options);
  const volume = new SqliteVolume(path, options);
  const all: Uint8Array[] = [];
  for (let commit = 0; commit < how.commits; commit++) {
    const count = 1 + random.below(how.records ?? 40);
    const records = Array.from({ length: count }, (_, i) =>
      makeRecord(random, random.pick(how.sizes ?? usualSizes), seed * 100_000 + commit * 100 + i),
    );
    all.push(...records.map(({ bytes }) => bytes));
    volume.write(records.map(({ id, bytes }) => ({ name: { id, incarnation: 1 }, bytes })));
  }
  volume.close();
  const file = new Uint8Array(readFileSync(path));
  rmSync(folder, { recursive: true });
  return { file, records: all.map((bytes) => ({ key: keyOf(bytes), bytes, ranges: rangesOf(file, bytes) })) };
}

/** Id and incarnation. */
function keyOf(record: Uint8Array): string {
  return Buffer.from(record.subarray(8, 48)).toString('hex');
}

const usualSizes = [0, 10, 300, 1000, 3000, 4096, 9000, 16_000, 20_000, 70_000, 200_000];

function makeRecord(random: Random, size: number, seed: number): { id: string; bytes: Uint8Array } {
  const content = seededBytes((seed * 3 + 1) >>> 0, random.below(size + 1)).slice();
  const id = provider.sha256(content);
  const chunks = [];
  for (let at = 0; at < content.length; at += 2 ** chunkLog2)
    chunks.push({ codec: chunkCodecs.identity, bytes: content.subarray(at, at + 2 ** chunkLog2) });
  const bytes = new Uint8Array(recordOverhead(content.length, chunkLog2) + content.length);
  const head = {
    kind: 'raw' as const,
    id,
    incarnation: 1 + random.below(2 ** 40),
    sealed: false,
    part: 0,
    offset: 0,
    last: true,
    size: content.length,
    chunkLog2,
    contentBytes: content.length,
  };
  writeRecord(provider, bytes, 0, { head, chunks });
  return { id: Buffer.from(id).toString('hex'), bytes };
}

/**
 * Where the bytes of a record lie, found by nothing but comparing: as many bytes as agree from where its beginning is found, then the rest
 * from where that is found. Knows nothing of pages. SQLite leaves copies behind when it moves a row: the last place is the one in use.
 */
function rangesOf(file: Uint8Array, record: Uint8Array): [number, number][] {
  const buffer = Buffer.from(file.buffer, file.byteOffset, file.length);
  const ranges: [number, number][] = [];
  for (let at = 0; at < record.length;) {
    const near = nearby(file, record, at, ranges.at(-1)?.[1]);
    if (near !== undefined) {
      ranges.push(near);
      at += near[1] - near[0];
      continue;
    }
    // Nearest behind the range before, or anywhere: only a row that begins on its leaf goes on far away.
    let best: [number, number] | undefined;
    const sought = record.subarray(at, Math.min(record.length, at + 24));
    for (let length = sought.length; length > 0 && best === undefined; length = length > 4 ? 4 : length - 1) {
      const piece = sought.subarray(0, length);
      const from = length < sought.length ? (ranges.at(-1)?.[1] ?? 0) : 0;
      for (let place = buffer.indexOf(piece, from); place >= 0; place = buffer.indexOf(piece, place + 1)) {
        let end = 0;
        while (at + end < record.length && file[place + end] === record[at + end]) end++;
        if (best === undefined || end > best[1] - best[0]) best = [place, place + end];
        if (length < sought.length) break;
      }
    }
    if (best === undefined) throw new Error('a record is not in its file');
    ranges.push(best);
    at += best[1] - best[0];
  }
  return ranges;
}

/** Where the rest goes on a few bytes behind what was found last, as it mostly does. */
function nearby(
  file: Uint8Array,
  record: Uint8Array,
  at: number,
  last: number | undefined,
): [number, number] | undefined {
  if (last === undefined) return undefined;
  const wanted = Math.min(record.length - at, 24);
  for (let place = last; place < last + 16; place++) {
    let end = 0;
    while (at + end < record.length && file[place + end] === record[at + end]) end++;
    if (end >= wanted) return [place, place + end];
  }
  return undefined;
}

/** What a salvage gives, by key; throws where it gives a byte that was never put. */
export function salvaged(file: Uint8Array, known: KnownVolume): Set<string> {
  const should = new Map(known.records.map(({ key, bytes }) => [key, bytes]));
  const got = new Set<string>();
  const read = (position: number, length: number): Uint8Array => file.subarray(position, position + length);
  for (const { bytes } of salvageRecords(provider, read, file.length)) {
    const key = keyOf(bytes);
    if (Buffer.compare(bytes, should.get(key) ?? new Uint8Array(0)) !== 0)
      throw new Error(`a record that was never written: ${key}`);
    got.add(key);
  }
  return got;
}

/** Keys of the records of which every byte is in the damaged file as it was. */
export function intact(file: Uint8Array, known: KnownVolume): string[] {
  const untouched = (from: number, to: number): boolean =>
    to <= file.length && Buffer.compare(file.subarray(from, to), known.file.subarray(from, to)) === 0;
  return known.records
    .filter(({ ranges }) => ranges.every(([from, to]) => untouched(from, to)))
    .map(({ key }) => key);
}

export interface Damage {
  readonly what: string;
  readonly file: Uint8Array;
}

/** Something that happens to files on disks. */
export function damage(random: Random, file: Uint8Array): Damage {
  const copy = file.slice();
  const page = 16_384;
  const pages = Math.floor(file.length / page);
  const at = random.below(file.length);
  const n = random.below(pages);
  switch (random.below(9)) {
    case 0:
      copy[at]! ^= 1 << random.below(8);
      return { what: `a bit turned at ${at}`, file: copy };
    case 1: {
      const length = 1 + random.below(600);
      copy.fill(0, at, at + length);
      return { what: `${length} zeros at ${at}`, file: copy };
    }
    case 2:
      copy.fill(0, n * page, (n + 1) * page);
      return { what: `page ${n + 1} zeroed`, file: copy };
    case 3: {
      const length = 1 + random.below(5000);
      copy.set(
        seededBytes(random.below(2 ** 31), length).subarray(0, Math.min(length, file.length - at)),
        at,
      );
      return { what: `${length} bytes of noise at ${at}`, file: copy };
    }
    case 4:
      return { what: `cut at ${at}`, file: copy.slice(0, at) };
    case 5:
      copy.fill(random.below(256), 0, 1 + random.below(page));
      return { what: 'its header overwritten', file: copy };
    case 6: {
      // Where a tree is: type, pointers, lengths.
      for (let i = 0; i < 8; i++) copy[n * page + random.below(40)] = random.below(256);
      return { what: `8 bytes of the head of page ${n + 1}`, file: copy };
    }
    case 7: {
      for (let p = 0; p < pages; p++) if (random.chance(0.1)) copy.fill(0, p * page, (p + 1) * page);
      return { what: 'one page in ten zeroed', file: copy };
    }
    default: {
      for (let i = 0; i < 30; i++) copy[random.below(file.length)]! ^= 0xff;
      return { what: '30 bytes turned', file: copy };
    }
  }
}
