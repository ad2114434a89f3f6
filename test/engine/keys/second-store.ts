/** Reads an encrypted store by docs/format.md and docs/security.md alone: no line of engine/ is used, and no catalog. */
import { createRequire } from 'node:module';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { type Realm, locatorOf, openCell, openKeys, openSealed } from './second-opinion.ts';

type Sqlite = new (path: string) => {
  prepare(sql: string): { all(): unknown[] };
  close(): void;
};
const Sqlite = createRequire(import.meta.url)('better-sqlite3') as Sqlite;

const u32 = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at);
const u64 = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

/** What a record or a frame holds, none of its chunks compressed. */
function stored(bytes: Buffer, entry: number): { codec: number; length: number } {
  const word = u32(bytes, entry);
  return { codec: Math.floor(word / 2 ** 28), length: word % 2 ** 28 };
}

export class SecondStore {
  readonly #root: string;
  readonly #realm: Realm;
  /** Sealed objects in SQLite volumes, by locator. */
  readonly #records = new Map<string, Buffer>();
  /** Of what was read so far. */
  readonly epochs = new Set<number>();

  constructor(root: string, rawKey: Uint8Array) {
    this.#root = root;
    const realm = openKeys(new Uint8Array(readFileSync(join(root, 'keys'))), 'raw-key', rawKey);
    if (realm === undefined) throw new Error('no slot opens');
    this.#realm = realm;
    for (const name of readdirSync(join(root, 'volumes')).filter((file) => file.endsWith('.db')))
      this.#readVolume(join(root, 'volumes', name));
  }

  locatorOf(id: string): string {
    return locatorOf(this.#realm, id);
  }

  /** The content of a blob. */
  read(id: string): Uint8Array {
    const locator = this.locatorOf(id);
    const sealed = this.#records.get(locator) ?? this.#file(locator);
    if (sealed === undefined) throw new Error(`${id} is nowhere`);
    const object = openSealed(this.#realm, new Uint8Array(sealed));
    if (object.id !== id) throw new Error('it is another blob');
    this.epochs.add(object.epoch);
    const chunks = object.chunks.map(({ codec, bytes }) => {
      const chunk = Buffer.from(bytes, 'hex');
      if (codec > 1) throw new Error(`codec ${codec}`);
      return codec === 1 ? inflateRawSync(chunk) : chunk;
    });
    return new Uint8Array(Buffer.concat(chunks));
  }

  /** Names of roots, and the locators they point to, by the root log from its beginning. */
  roots(): Map<string, string> {
    const log = readFileSync(join(this.#root, 'roots.log'));
    const roots = new Map<string, string>();
    for (let at = 24; at < log.length; at += u32(log, at)) {
      const change = log[at + 20]!;
      if (change > 1) continue;
      const bytes = log.readUInt16LE(at + 21);
      const locator = log.subarray(at + 23, at + 55).toString('hex');
      const [key, sealed] = log
        .subarray(at + 55, at + 55 + bytes)
        .toString()
        .split('.') as [string, string];
      const row = Buffer.from(change === 0 ? key + locator : key);
      const name = openCell(this.#realm, new Uint8Array(Buffer.from(sealed, 'hex')), { column: 'root', row });
      const text = Buffer.from(name).toString();
      if (change === 0) roots.set(text, locator);
      else roots.delete(text);
    }
    return roots;
  }

  #readVolume(path: string): void {
    const db = new Sqlite(path);
    const extents = db.prepare('SELECT data FROM extents ORDER BY n').all() as { readonly data: Buffer }[];
    db.close();
    for (const { data } of extents) for (let at = 0; at < data.length; at = this.#record(data, at));
  }

  /** The record at `at`; returns where the next one begins. */
  #record(data: Buffer, at: number): number {
    if (data.subarray(at, at + 4).toString('hex') !== '48467201') throw new Error('no record');
    if (data[at + 5] !== 1) throw new Error('it is not sealed');
    const locator = data.subarray(at + 8, at + 40).toString('hex');
    const chunks = Math.ceil(u32(data, at + 68) / 2 ** data[at + 7]!);
    const payload = at + 80 + 8 * chunks;
    const end = payload + u32(data, at + 72);
    for (let i = 0; i < chunks; i++)
      if (stored(data, at + 76 + 8 * i).codec !== 0) throw new Error('sealed, and then compressed');
    this.#records.set(locator, data.subarray(payload, end));
    return end;
  }

  /** The object in the frame of a large blob. */
  #file(locator: string): Buffer | undefined {
    const folder = join(this.#root, 'blobs', locator.slice(0, 2));
    const name = existsSync(folder)
      ? readdirSync(folder).find((file) => file.startsWith(locator))
      : undefined;
    if (name === undefined) return undefined;
    const bytes = readFileSync(join(folder, name));
    const trailer = bytes.length - 64;
    const [size, pages, log2] = [u64(bytes, trailer + 32), u32(bytes, trailer + 40), bytes[trailer + 53]!];
    if (bytes[trailer + 52] !== 1) throw new Error('it is not sealed');
    const pieces: Buffer[] = [];
    for (let page = 0, at = 8; page < pages; page++) {
      const table = u64(bytes, trailer - 12 * (pages - page));
      const count = Math.min(1024, Math.ceil(size / 2 ** log2) - 1024 * page);
      for (let i = 0; i < count; i++) {
        const { codec, length } = stored(bytes, table + 8 * i);
        if (codec !== 0) throw new Error('sealed, and then compressed');
        pieces.push(bytes.subarray(at, at + length));
        at += length;
      }
      at = table + 8 * count;
    }
    return Buffer.concat(pieces);
  }
}
