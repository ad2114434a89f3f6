/** Restores snapshots that were made to do harm: refused, with nothing written outside the target. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { nodeProvider } from '../../engine/providers/node.ts';
import { type BlobId, type RestoreProgress, type Store, listFolder, restoreTree } from '../../src/index.ts';
import { decodeEntry, encodeEntry } from '../../src/snapshot/entry.ts';
import { platformFault, readName, splitPath } from '../../src/snapshot/names.ts';
import { buildMap } from '../../sync/tree/builder.ts';
import { CborWriter } from '../../sync/tree/cbor.ts';
import type { MapEntry } from '../../sync/tree/rules.ts';
import { collect } from '../sync/tree/maps.ts';
import { Workplace } from './workplace.ts';

async function putMap(store: Store, entries: readonly MapEntry[]): Promise<BlobId> {
  const building = buildMap(
    entries.toSorted((a, b) => Buffer.compare(a.key, b.key)),
    nodeProvider,
  );
  for (;;) {
    const step = building.next();
    if (step.done) return step.value;
    await store.put(step.value.bytes, { kind: 'node' });
  }
}

function entryNamed(key: Uint8Array, id: BlobId): MapEntry {
  return encodeEntry({ type: 'file', name: 'x', mode: 0o644, mtimeNs: 0n, size: 5, id }, key);
}

const names: readonly (readonly [string, Uint8Array])[] = [
  ['the folder above', Buffer.from('..')],
  ['the folder itself', Buffer.from('.')],
  ['nothing', Buffer.from('')],
  ['a slash', Buffer.from('../escaped')],
  ['an absolute path', Buffer.from('/tmp/escaped')],
  ['a NUL', Buffer.from('a\0b')],
  ['256 bytes', Buffer.alloc(256, 'a')],
  ['bytes that are not UTF-8', Buffer.from([0x61, 0xff])],
  ['a lone surrogate', Buffer.from([0xed, 0xa0, 0x80])],
  ['an overlong slash', Buffer.from([0xc0, 0xaf])],
];

test('hostile names are refused when they are read, and when they are restored', async (t) => {
  const place = await Workplace.open(t);
  const { id } = await place.store.put(Buffer.from('hello'));
  mkdirSync(place.path('a/b'), { recursive: true });
  for (const [n, [what, key]] of names.entries()) {
    assert.throws(() => readName(key), { code: 'corrupt' }, what);
    const inner = await putMap(place.store, [entryNamed(Buffer.from('fine'), id), entryNamed(key, id)]);
    const root = await putMap(place.store, [
      encodeEntry({ type: 'folder', name: 'sub', mode: 0o755, mtimeNs: 0n, id: inner }),
    ]);
    await assert.rejects(collect(listFolder(place.store, inner)), { code: 'corrupt' }, what);
    await assert.rejects(
      restoreTree(place.store, root, place.path(`a/b/out${n}`)),
      { code: 'corrupt' },
      what,
    );
  }
  assert.deepEqual(readdirSync(place.path()).sort(), ['a', 'store']);
  assert.deepEqual(readdirSync(place.path('a')), ['b']);
  const left = new Set(
    readdirSync(place.path('a/b'), { recursive: true }).map((path) => String(path).replace(/^out\d+/, '')),
  );
  assert.ok(
    [...left].every((path) => ['', '/sub', '/sub/fine'].includes(path)),
    [...left].join(),
  );
});

test('a link that points outside is written as a link, after all files, and nothing goes through it', async (t) => {
  const place = await Workplace.open(t);
  place.write({ 'outside/victim': 'untouched' });
  const { id } = await place.store.put(Buffer.from('hello'));
  const common = { mode: 0o644, mtimeNs: 0n };
  const folder = await putMap(place.store, [
    encodeEntry({ type: 'file', name: 'victim', ...common, size: 5, id }),
  ]);
  // On a disk that folds case the folder "A" and the link "a" are one name.
  const root = await putMap(place.store, [
    encodeEntry({ type: 'folder', name: 'A', ...common, mode: 0o755, id: folder }),
    encodeEntry({ type: 'link', name: 'a', ...common, target: place.path('outside') }),
    encodeEntry({ type: 'link', name: 'b', ...common, target: place.path('outside/victim') }),
  ]);
  await restoreTree(place.store, root, place.path('out'));
  assert.equal(readFileSync(place.path('outside/victim'), 'utf8'), 'untouched');
  assert.equal(readFileSync(place.path('out/A/victim'), 'utf8'), 'hello');
});

test('a tree nested deeper than 128, and a path over 4,096 bytes, are refused', async (t) => {
  const place = await Workplace.open(t);
  const nest = async (depth: number, name: string): Promise<BlobId> => {
    let id = await putMap(place.store, []);
    for (let i = 0; i < depth; i++)
      id = await putMap(place.store, [encodeEntry({ type: 'folder', name, mode: 0o755, mtimeNs: 0n, id })]);
    return id;
  };
  const told: RestoreProgress[] = [];
  const onProgress = (written: RestoreProgress): void => void told.push(written);
  await assert.rejects(restoreTree(place.store, await nest(129, 'd'), place.path('deep'), { onProgress }), {
    code: 'limit-exceeded',
  });
  // What it tells of what it left is what is there.
  assert.equal(told.at(-1)!.folders, readdirSync(place.path('deep'), { recursive: true }).length);
  await assert.rejects(restoreTree(place.store, await nest(17, 'n'.repeat(250)), place.path('long')), {
    code: 'limit-exceeded',
  });
  await restoreTree(place.store, await nest(127, 'd'), place.path('just'));
});

test('entries that no import writes are refused', () => {
  const id = 'a'.repeat(64);
  const key = Buffer.from('x');
  const raw = { kind: 'raw' as const, id };
  const value = (write: (writer: CborWriter) => CborWriter): Uint8Array => write(new CborWriter()).finish();
  const wrong: readonly (readonly [Uint8Array, MapEntry['links']])[] = [
    [new Uint8Array(), []],
    [value((w) => w.array(5).integer(3).integer(0).integer(0).integer(0).integer(0)), [raw]],
    [value((w) => w.array(4).integer(0).integer(0).integer(0).integer(0)), [raw]],
    [value((w) => w.array(5).integer(0).integer(0o10000).integer(0).integer(0).integer(0)), [raw]],
    [value((w) => w.array(5).integer(0).integer(0).integer(0).integer(1_000_000_000).integer(0)), [raw]],
    [value((w) => w.array(5).integer(0).integer(0).integer(0).integer(0).integer(-1)), [raw]],
    [value((w) => w.array(5).integer(0).integer(0).integer(0).integer(0).integer(0)), []],
    [value((w) => w.array(5).integer(0).integer(0).integer(0).integer(0).integer(0)), [raw, raw]],
    [value((w) => w.array(5).integer(0).integer(0).integer(0).integer(0).integer(0)), [{ kind: 'node', id }]],
    [value((w) => w.array(4).integer(1).integer(0).integer(0).integer(0)), [raw]],
    [value((w) => w.array(5).integer(2).integer(0).integer(0).integer(0).bytes(Buffer.from(''))), []],
    [value((w) => w.array(5).integer(2).integer(0).integer(0).integer(0).bytes(Buffer.from('a\0'))), []],
    [
      value((w) =>
        w
          .array(5)
          .integer(2)
          .integer(0)
          .integer(0)
          .integer(0)
          .bytes(Buffer.from([0xff])),
      ),
      [],
    ],
    [
      value((w) => w.array(5).integer(2).integer(0).integer(0).integer(0).bytes(Buffer.alloc(4_096, 'a'))),
      [],
    ],
    [value((w) => w.array(5).integer(2).integer(0).integer(0).integer(0).bytes(Buffer.from('a'))), [raw]],
    [
      Buffer.concat([value((w) => w.array(4).integer(1).integer(0).integer(0).integer(0)), Buffer.from([0])]),
      [{ kind: 'node', id }],
    ],
  ];
  for (const [bytes, links] of wrong)
    assert.throws(
      () => decodeEntry({ key, value: bytes, links }),
      { code: 'corrupt' },
      Buffer.from(bytes).toString('hex'),
    );
});

test('entries survive their encoding, times before 1970 too', () => {
  const id = 'b'.repeat(64);
  for (const mtimeNs of [0n, 1000n, -1000n, -1_000_000_000n, 1_700_000_000_123_456_000n, -5_500_001_000n]) {
    for (const entry of [
      { type: 'file' as const, name: 'f', mode: 0o4755, mtimeNs, size: 2 ** 40, id },
      { type: 'folder' as const, name: 'd', mode: 0o1777, mtimeNs, id },
      { type: 'link' as const, name: 'l', mode: 0o777, mtimeNs, target: '../x' },
    ])
      assert.deepEqual(decodeEntry(encodeEntry(entry)), entry);
  }
});

test('a time is kept to the nearest microsecond, which is what can be set again', () => {
  const kept = (mtimeNs: bigint): bigint => {
    const entry = { type: 'folder' as const, name: 'd', mode: 0o755, mtimeNs, id: 'b'.repeat(64) };
    return decodeEntry(encodeEntry(entry)).mtimeNs;
  };
  assert.equal(kept(1_700_000_000_123_456_499n), 1_700_000_000_123_456_000n);
  assert.equal(kept(1_700_000_000_999_999_500n), 1_700_000_001_000_000_000n);
  assert.equal(kept(-1n), 0n);
  assert.equal(kept(-501n), -1000n);
});

test('names that Windows cannot hold are refused there, never changed', () => {
  for (const name of ['con', 'NUL.txt', 'COM1', 'a:b', 'a\\b', 'dot.', 'space ', 'what?', 'lpt9.log'])
    assert.notEqual(platformFault(name, 'win32'), undefined, name);
  for (const name of ['console', 'a b', '.dot', 'com', 'nul1'])
    assert.equal(platformFault(name, 'win32'), undefined, name);
  assert.equal(platformFault('a:b', 'linux'), undefined);
  assert.deepEqual(splitPath('/a//b/./c/'), ['a', 'b', 'c']);
  assert.throws(() => splitPath('a/../b'), { code: 'invalid-argument' });
});
