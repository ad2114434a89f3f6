/** The page of the format is true: its hex is made again by the code, its tables are those of a new store. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { murmur128 } from '../../engine/codec/murmur.ts';
import { RowHasher } from '../../engine/catalog/row-sums.ts';
import { fromHex, toHex } from '../../engine/codec/bytes.ts';
import { decodeNode, encodeNode, nodeBytesMax, nodeLinksMax } from '../../engine/codec/node.ts';
import { encodeManifest } from '../../engine/codec/manifest.ts';
import { gearTable, usualCuts } from '../../engine/codec/fastcdc.ts';
import { chunkCodecs } from '../../engine/codec/chunks.ts';
import { FrameWriter } from '../../engine/codec/frame.ts';
import { readRecord } from '../../engine/codec/record.ts';
import { chainBytes, encodeLogHead, encodeLogRecord } from '../../engine/codec/root-record.ts';
import { decodeSuperblock, defaultParameters, encodeSuperblock } from '../../engine/codec/superblock.ts';
import { openStore } from '../../engine/index.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { encodeEntry } from '../../src/snapshot/entry.ts';
import { buildMap } from '../../sync/tree/builder.ts';
import { recordOf } from '../engine/codec/arbitrary.ts';
import { codeBlocks, page, sectionOf, tableColumn } from './page.ts';

const format = page('docs/format.md');
const hello = new TextEncoder().encode('hello');
const helloId = toHex(provider.sha256(hello));
const storeId = '00112233445566778899aabbccddeeff';
const timeMs = Date.UTC(2026, 0, 2, 3, 4, 5);

function exampleRecord(): Uint8Array {
  const head = {
    kind: 'raw',
    id: fromHex(helloId)!,
    incarnation: 0x1122_3344_5566,
    part: 0,
    sealed: false,
    offset: 0,
    last: true,
    size: hello.length,
    chunkLog2: 16,
  } as const;
  return recordOf(head, hello);
}

function exampleFrame(): Uint8Array {
  const writer = new FrameWriter(provider, 16);
  const chunk = writer.add({ codec: chunkCodecs.identity, bytes: hello });
  return Buffer.concat([writer.head(), ...chunk, ...writer.finish(fromHex(helloId)!, hello.length)]);
}

function exampleManifest(): Uint8Array {
  const parts = ['hel', 'lo'].map((text) => ({
    id: provider.sha256Hex(new TextEncoder().encode(text)),
    size: text.length,
  }));
  const root = { id: helloId, size: hello.length, cuts: usualCuts };
  return encodeManifest({ level: 0, parts, root });
}

function exampleNode(): Uint8Array {
  return encodeNode({ links: [{ kind: 'raw', id: helloId }], payload: new TextEncoder().encode('note') });
}

function exampleLog(): Uint8Array {
  const id = provider.sha256Hex(exampleNode());
  const set = { sequence: 1, timeMs, change: 'set', name: 'main', id } as const;
  const first = encodeLogRecord(provider, set, new Uint8Array(chainBytes));
  const gone = { sequence: 2, timeMs: timeMs + 1, change: 'delete', name: 'main' } as const;
  const second = encodeLogRecord(provider, gone, first.hash);
  return Buffer.concat([encodeLogHead(fromHex(storeId)!), first.bytes, second.bytes]);
}

function exampleFolder(): { readonly id: string; readonly bytes: Uint8Array } {
  const mtimeNs = BigInt(timeMs) * 1_000_000n + 6n;
  const entry = { type: 'file', name: 'hello.txt', mode: 0o644, mtimeNs, id: helloId, size: 5 } as const;
  const [node] = [...buildMap([encodeEntry(entry)], provider)];
  return node!;
}

const examples: Readonly<Record<string, () => Uint8Array>> = {
  record: exampleRecord,
  frame: exampleFrame,
  manifest: exampleManifest,
  node: exampleNode,
  'root-log': exampleLog,
  folder: () => exampleFolder().bytes,
};

/** The bytes of a block: each line's hex, up to the bar in front of its explanation. */
function bytesOf(block: string): string {
  return block
    .split('\n')
    .map((line) => line.split('|')[0]!.replaceAll(/\s/g, ''))
    .join('');
}

for (const [name, make] of Object.entries(examples)) {
  test(`the example "${name}" is what the code writes`, () => {
    const blocks = codeBlocks(format).filter(({ language }) => language === `hex ${name}`);
    assert.equal(blocks.length, 1, `one block \`\`\`hex ${name} in docs/format.md`);
    assert.equal(bytesOf(blocks[0]!.text), toHex(make()));
  });
}

test('no example is left that nothing makes', () => {
  const names = codeBlocks(format).flatMap(({ language }) =>
    language.startsWith('hex ') ? [language.slice(4)] : [],
  );
  assert.deepEqual(names.sort(), [...Object.keys(examples), 'row'].sort());
});

test('the examples are read back, and the ids in the text are theirs', () => {
  const record = readRecord(provider, exampleRecord(), 0);
  assert.deepEqual([toHex(record.head.id), toHex(record.content())], [helloId, toHex(hello)]);
  assert.deepEqual(decodeNode(exampleNode()).links, [{ kind: 'raw', id: helloId }]);
  assert.ok(format.includes(provider.sha256Hex(exampleNode())));
  assert.ok(format.includes(exampleFolder().id));
});

test('the superblock in the page is what the code writes, and is read back', () => {
  const superblock = {
    format: 1,
    storeId,
    createdMs: timeMs,
    compat: [],
    roCompat: [],
    incompat: [],
    parameters: defaultParameters,
  };
  const [block] = codeBlocks(format).filter(({ language }) => language === 'text superblock');
  assert.equal(`${block!.text}\n`, new TextDecoder().decode(encodeSuperblock(provider, superblock)));
  assert.deepEqual(decodeSuperblock(provider, new TextEncoder().encode(`${block!.text}\n`)), superblock);
});

test('the encoding of a row is as the page says, and its hash is the checksum', () => {
  const [block] = codeBlocks(format).filter(({ language }) => language === 'hex row');
  const row = fromHex(bytesOf(block!.text))!;
  const padded = new Uint8Array(row.length + 15);
  padded.set(row);
  const sum = murmur128(new DataView(padded.buffer), row.length, 2);
  assert.equal(toHex(sum), toHex(new RowHasher().sum('refs', [1, 1, 'main'])));
  assert.ok(format.includes(toHex(sum)));
});

test('limits in the page are those of the code', () => {
  assert.equal(nodeBytesMax, 4 * 1024 * 1024);
  assert.equal(nodeLinksMax, 65_536);
  const { compression, chunking, layout, encryption, ...numbers } = defaultParameters;
  assert.equal(encryption, null);
  assert.ok(format.includes(`\`${layout}\` (default)`));
  const gear = gearTable(provider);
  for (const word of [gear[0]!, gear[255]!])
    assert.ok(format.includes((word >>> 0).toLocaleString('en-US')), 'words of the gear');
  assert.ok(format.includes(`default \`${chunking.mode}\``));
  assert.ok(format.includes(`default \`${compression.mode}\``));
  for (const [name, value] of Object.entries(numbers)) {
    const row = format.split('\n').find((line) => line.startsWith(`| \`parameters.${name}\``));
    assert.ok(row?.includes(`default ${value.toLocaleString('en-US')}`), `the default of ${name}`);
  }
});

/** Makes a store with a small blob, a file and a root in it; shows its folder while it is open, and when it is closed. */
async function makeStore(look: {
  readonly open?: (folder: string) => void;
  readonly closed?: (folder: string) => void;
}): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-format-'));
  const folder = join(base, 'store');
  const store = await openStore(folder, { threads: { count: 0 } });
  try {
    const small = await store.put(hello, { owner: 'test' });
    await store.put(new Uint8Array(300_000), { owner: 'test' });
    await store.roots.set('main', small.id);
    look.open?.(folder);
    assert.deepEqual((await store.scrub()).damaged, []);
  } finally {
    await store.close();
  }
  look.closed?.(folder);
  rmSync(base, { recursive: true, force: true });
}

type Columns = readonly { readonly name: string }[];

function schemaOf(path: string): {
  readonly tables: ReadonlyMap<string, readonly string[]>;
  readonly pragma: (name: string) => unknown;
} {
  const db = new Database(path, { readonly: true });
  try {
    const names = db
      .prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
      .pluck()
      .all() as string[];
    const tables = new Map(
      names.map((name) => [name, (db.pragma(`table_info(${name})`) as Columns).map((column) => column.name)]),
    );
    const values = new Map(
      ['application_id', 'user_version', 'page_size', 'journal_mode'].map((name) => [
        name,
        db.pragma(name, { simple: true }),
      ]),
    );
    return { tables, pragma: (name) => values.get(name) };
  } finally {
    db.close();
  }
}

test('the tables and columns of the catalog are those in the page', async () => {
  const closed = (folder: string): void => {
    const { tables, pragma } = schemaOf(join(folder, 'index.db'));
    const described = [...format.matchAll(/^#### `(\w+)`$/gm)].map((match) => match[1]!);
    assert.deepEqual(described.sort(), [...tables.keys()].sort());
    for (const [table, columns] of tables) {
      const told = tableColumn(sectionOf(format, `#### \`${table}\``)).map((cell) =>
        cell.replaceAll('`', ''),
      );
      assert.deepEqual(told, columns, `columns of ${table}`);
    }
    const section = sectionOf(format, '## The catalog');
    assert.ok(section.includes(`0x${(pragma('application_id') as number).toString(16)}`));
    assert.ok(section.includes(`| \`user_version\` | ${String(pragma('user_version'))},`));
    assert.ok(section.includes(`Page size (${(pragma('page_size') as number).toLocaleString('en-US')})`));
    assert.equal(pragma('journal_mode'), 'wal');
  };
  await makeStore({ closed });
});

test('a volume is the database that the page describes', async () => {
  const closed = (folder: string): void => {
    const [file] = readdirSync(join(folder, 'volumes')).filter((name) => name.endsWith('.db'));
    const path = join(folder, 'volumes', file!);
    const { tables, pragma } = schemaOf(path);
    assert.deepEqual(Object.fromEntries(tables), { extents: ['n', 'data'], header: ['key', 'value'] });
    const section = sectionOf(format, '## SQLite volumes');
    assert.ok(section.includes(`0x${(pragma('application_id') as number).toString(16)}`));
    assert.ok(
      section.includes(`| page size | ${(pragma('page_size') as number).toLocaleString('en-US')} bytes`),
    );
    assert.ok(section.includes(`| \`user_version\` | ${String(pragma('user_version'))};`));
    const db = new Database(path, { readonly: true });
    const header = new Map(db.prepare('SELECT key, value FROM header').raw().all() as [string, unknown][]);
    const extents = db.prepare('SELECT n, data FROM extents').raw().all() as [number, Uint8Array][];
    db.close();
    assert.deepEqual([...header.keys()].sort(), ['generation', 'layout', 'store', 'volume']);
    assert.equal(`${String(header.get('volume'))}.db`, file);
    assert.equal(header.get('generation'), 1);
    assert.deepEqual(
      extents.map(([n]) => n),
      [1],
    );
    assert.equal(toHex(readRecord(provider, extents[0]![1], 0).content()), toHex(hello));
  };
  await makeStore({ closed });
});

/** The paths of the page's table as patterns; those that end in a slash are folders. */
function knownPaths(): RegExp[] {
  const cells = tableColumn(sectionOf(format, '## The folder'));
  const paths = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!));
  // A path makes the folders on its way known too.
  const folders = paths.flatMap((path) =>
    path
      .split('/')
      .slice(0, -1)
      .map((_, i, parts) => `${parts.slice(0, i + 1).join('/')}/`),
  );
  return [...paths, ...folders].map((path) => {
    const source = path
      .replaceAll('.', '\\.')
      .replaceAll('<uuid>', '[0-9a-f]{32}')
      .replaceAll('<ab>', '[0-9a-f]{2}')
      .replaceAll('<id>', '[0-9a-f]{64}')
      .replaceAll('<generation>', '\\d{1,15}')
      .replaceAll('<incarnation>', '[0-9a-f]{1,13}');
    return new RegExp(`^${source}$`);
  });
}

test('everything in the folder of a store, open and closed, is in the table of the page', async () => {
  const known = knownPaths();
  const look = (folder: string): void => {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const paths = entries.map(
      (entry) =>
        join(entry.parentPath, entry.name).slice(folder.length + 1) + (entry.isDirectory() ? '/' : ''),
    );
    assert.ok(paths.includes('index.db') && paths.length > 10);
    assert.deepEqual(
      paths.filter((path) => !known.some((pattern) => pattern.test(path))),
      [],
    );
  };
  await makeStore({ open: look, closed: look });
});
