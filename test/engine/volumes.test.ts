// Every volume keeps the contract of engine/volume.ts; a SQLite volume also knows itself from others and sees what is damaged.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Database, DatabaseClass, Statement } from '../../engine/driver.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import { memoryHost } from '../../engine/hosts/memory.ts';
import type { Files } from '../../engine/host.ts';
import { nodeProvider } from '../../engine/providers/node.ts';
import type { Part } from '../../engine/volume.ts';
import { DirectoryVolume } from '../../engine/volumes/directory.ts';
import { MemoryVolume } from '../../engine/volumes/memory.ts';
import { SqliteVolume, type SqliteVolumeOptions } from '../../engine/volumes/sqlite.ts';
import { type VolumeUnderTest, volumeSuite } from '../conformance/volume.ts';
import { recordOf } from './codec/arbitrary.ts';

const driver = createRequire(import.meta.url)('better-sqlite3') as DatabaseClass;
let incarnation = 1;

function bare(content: Uint8Array): Part {
  return { name: { id: nodeProvider.sha256Hex(content), incarnation: incarnation++ }, bytes: content };
}

function record(content: Uint8Array): Part {
  const id = nodeProvider.sha256(content);
  const name = { id: nodeProvider.sha256Hex(content), incarnation: incarnation++ };
  const head = {
    kind: 'raw' as const,
    id,
    incarnation: name.incarnation,
    part: 0,
    sealed: false,
    offset: 0,
    last: true,
    size: content.length,
    chunkLog2: 16,
  };
  return { name, bytes: recordOf(head, content) };
}

function freshFolder(): string {
  return mkdtempSync(join(tmpdir(), 'holdfast-volume-'));
}

function directoryIn(files: Files, folder: string): DirectoryVolume {
  return new DirectoryVolume(files, 'blobs', {
    root: files.join(folder, 'blobs'),
    temp: files.join(folder, 'tmp'),
  });
}

volumeSuite('memory', () => ({ volume: new MemoryVolume('m'), part: bare, dispose: () => undefined }));

volumeSuite('directory', () => {
  const folder = freshFolder();
  const { files } = nodeHost();
  for (const name of ['blobs', 'tmp']) mkdirSync(join(folder, name));
  return {
    volume: directoryIn(files, folder),
    reopen: () => directoryIn(files, folder),
    part: bare,
    dispose: () => rmSync(folder, { recursive: true }),
  };
});

volumeSuite('directory on the memory host', (): VolumeUnderTest => {
  const { files } = memoryHost();
  for (const name of ['/v', '/v/blobs', '/v/tmp']) files.makeFolder(name);
  return {
    volume: directoryIn(files, '/v'),
    reopen: () => directoryIn(files, '/v'),
    part: bare,
    dispose: () => undefined,
  };
});

function sqliteOptions(volumeId = 'v1'): SqliteVolumeOptions {
  return {
    driver,
    provider: nodeProvider,
    identity: { storeId: 's1', volumeId },
    extentBytes: 65_536,
    durability: 'full',
    platform: process.platform,
  };
}

function sqliteIn(folder: string): SqliteVolume {
  const path = join(folder, 'v.db');
  SqliteVolume.create(path, sqliteOptions());
  return new SqliteVolume(path, sqliteOptions());
}

volumeSuite('sqlite', () => {
  const folder = freshFolder();
  return {
    volume: sqliteIn(folder),
    reopen: () => new SqliteVolume(join(folder, 'v.db'), sqliteOptions()),
    part: record,
    dispose: () => rmSync(folder, { recursive: true }),
  };
});

/** Runs on a SQLite volume in a folder of its own, and then lets a shell at the closed file. */
function withSqlite(body: (volume: SqliteVolume, path: string) => void): void {
  const folder = freshFolder();
  const volume = sqliteIn(folder);
  try {
    body(volume, join(folder, 'v.db'));
  } finally {
    volume.close();
    rmSync(folder, { recursive: true });
  }
}

test('a SQLite volume of another store or of another id is unavailable, never read as empty', () => {
  withSqlite((volume, path) => {
    volume.close();
    assert.throws(() => new SqliteVolume(path, sqliteOptions('v2')), { code: 'unavailable' });
    const foreign = { ...sqliteOptions(), identity: { storeId: 's2', volumeId: 'v1' } };
    assert.throws(() => new SqliteVolume(path, foreign), { code: 'unavailable' });
    assert.throws(() => new SqliteVolume(`${path}.gone`, sqliteOptions()), { code: 'unavailable' });
  });
});

test('records of a batch share extents, and an extent is not much larger than asked for', () => {
  withSqlite((volume) => {
    const parts = Array.from({ length: 64 }, (_, i) => record(new Uint8Array(8192).fill(i)));
    const locators = volume.write(parts);
    assert.ok(new Set(locators.map(({ extent }) => extent)).size <= 10);
    for (const { extent, data } of volume.extents(1, 1e9))
      assert.ok(data.length <= 65_536, `extent ${extent}`);
  });
});

test('extents are read by the half megabyte, however large who opened the volume took them to be', () => {
  withSqlite((volume, path) => {
    for (const bytes of [100, 60_000])
      volume.write(Array.from({ length: 40 }, (_, i) => record(new Uint8Array(bytes).fill(i))));
    const reader = new SqliteVolume(path, { ...sqliteOptions(), extentBytes: 0, access: 'read' });
    const last = reader.facts().extents;
    const asked: number[] = [];
    for (let from = 1; from <= last;) {
      const some = reader.someExtents(from, last);
      asked.push(some.reduce((sum, { data }) => sum + data.length, 0));
      from = some.at(-1)!.extent + 1;
    }
    reader.close();
    assert.ok(
      last > 20 && asked.length <= Math.ceil(last / 8),
      `${asked.length} questions for ${last} extents`,
    );
    assert.ok(Math.max(...asked) <= 8 * 65_536);
  });
});

test('a damaged record is listed as damage, the ones before it as what they are', () => {
  withSqlite((volume, path) => {
    const parts = ['first', 'second', 'third'].map((text) => record(new TextEncoder().encode(text)));
    const locators = volume.write(parts);
    volume.close();
    const db: Database = new driver(path);
    const data = db.prepare('SELECT data FROM extents WHERE n = 1').pluck().get() as Buffer;
    data[locators[1]!.offset + 10]! ^= 1;
    db.prepare('UPDATE extents SET data = ? WHERE n = 1').run(data);
    db.close();
    const again = new SqliteVolume(path, sqliteOptions());
    const listed = [...again.parts(1, 10)];
    again.close();
    assert.deepEqual(listed[0]!.name, parts[0]!.name);
    assert.match(listed[1]!.damage ?? '', /checksum/);
  });
});

test('rows that hold no bytes, and numbers out of order, as damaged pages have them, are damage', () => {
  withSqlite((volume, path) => {
    const part = record(new TextEncoder().encode('some'));
    const [locator] = volume.write([part]);
    volume.close();
    const db: Database = new driver(path);
    for (const value of ['a text', 5]) {
      db.prepare('UPDATE extents SET data = ? WHERE n = 1').run(value);
      const again = new SqliteVolume(path, sqliteOptions());
      assert.equal(again.read(part.name, locator!, 0, locator!.length), undefined);
      assert.equal(again.span(1, 0, 100), undefined);
      assert.deepEqual([...again.parts(1, 10)], []);
      again.close();
    }
    db.close();
    // Whoever goes on behind the last number would read the same rows for ever.
    class Lying extends driver {
      override prepare(sql: string): Statement {
        const statement = super.prepare(sql);
        return sql.startsWith('SELECT n, data')
          ? Object.assign(statement, {
              all: () => [
                [3, new Uint8Array(8)],
                [2, new Uint8Array(8)],
              ],
            })
          : statement;
      }
    }
    const lying = new SqliteVolume(path, { ...sqliteOptions(), driver: Lying });
    assert.throws(() => [...lying.extents(1, 10)], { code: 'corrupt' });
    assert.throws(() => lying.someExtents(5, 10), { code: 'corrupt' });
    lying.close();
  });
});

test('a volume open for reading refuses to write', () => {
  withSqlite((volume, path) => {
    volume.close();
    const reader = new SqliteVolume(path, { ...sqliteOptions(), access: 'read' });
    assert.throws(() => reader.write([record(new Uint8Array(3))]), { code: 'forbidden' });
    reader.close();
  });
});
