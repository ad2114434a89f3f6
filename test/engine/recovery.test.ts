/** Recovery at open: a root log that is ahead, torn or short, a catalog from yesterday, and what dead processes leave lying. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { encodeLogRecord } from '../../engine/codec/root-record.ts';
import { type BlobId, type RootLogEntry, type Store, nodeProvider } from '../../engine/index.ts';
import {
  type StoreFolder,
  noise,
  putAll,
  sha256,
  smallParameters,
  storeTest,
  text,
  unknownId,
} from './store-folder.ts';

const small = noise(1000, 1);
const large = noise(smallParameters.smallMax + 1, 2);
const deadLease = 'd'.repeat(32);

interface StoredState {
  readonly log: { readonly offset: number; readonly sequence: number; readonly hash: string };
  readonly doubt: string;
}

/** What the catalog of a closed store says of itself. */
function stateOf(folder: StoreFolder): StoredState {
  let text = '';
  folder.edit((db) => {
    text = db.prepare(`SELECT value FROM meta WHERE key = 'state'`).pluck().get() as string;
  });
  return JSON.parse(text) as StoredState;
}

/** The records that a process would have appended next. */
function nextRecords(
  folder: StoreFolder,
  entries: readonly Omit<RootLogEntry, 'sequence' | 'timeMs'>[],
): Buffer {
  const { log } = stateOf(folder);
  let hash: Uint8Array = Buffer.from(log.hash, 'hex');
  const records = entries.map((entry, i) => {
    const record = encodeLogRecord(
      nodeProvider,
      { ...entry, sequence: log.sequence + i + 1, timeMs: Date.now() },
      hash,
    );
    hash = record.hash;
    return record.bytes;
  });
  return Buffer.concat(records);
}

async function closed(folder: StoreFolder): Promise<{ smallId: BlobId; largeId: BlobId }> {
  const store = await folder.open();
  const [smallId, largeId] = await putAll(store, [small, large], 'x');
  await store.close();
  return { smallId: smallId!, largeId: largeId! };
}

async function reads(store: Store, contents: readonly Uint8Array[]): Promise<void> {
  for (const bytes of contents) {
    const got = await store.get(sha256(bytes));
    assert.ok(got !== undefined && Buffer.compare(got, bytes) === 0, `${bytes.length} bytes`);
  }
}

storeTest('records that are ahead of the catalog are replayed, once', async (folder) => {
  const { smallId, largeId } = await closed(folder);
  appendFileSync(
    folder.at('roots.log'),
    nextRecords(folder, [
      { change: 'set', name: 'main', id: smallId },
      { change: 'set', name: 'main', id: largeId },
      { change: 'set', name: 'gone', id: smallId },
      { change: 'delete', name: 'gone' },
      { change: 'retain', name: 'y', id: smallId },
      { change: 'release', name: 'x', id: smallId },
    ]),
  );
  for (let round = 0; round < 3; round++) {
    const store = await folder.open();
    assert.deepEqual(
      (await store.roots.list()).map(({ name, id }) => [name, id]),
      [['main', largeId]],
    );
    assert.equal((await store.stat(smallId))?.references, 1);
    assert.equal((await store.stat(largeId))?.references, 2);
    assert.deepEqual(
      (await store.roots.log()).map(({ sequence }) => sequence),
      [1, 2, 3, 4, 5, 6, 7, 8],
    );
    await store.close();
  }
  const store = await folder.open();
  await store.roots.delete('main');
  assert.equal((await store.roots.log()).at(-1)?.sequence, 9);
  assert.equal(await store.release(smallId, 'x'), false);
  assert.equal(await store.release(smallId, 'y'), true);
});

storeTest('records that appear while a store is open are replayed before its next commit', async (folder) => {
  const { smallId } = await closed(folder);
  const record = nextRecords(folder, [{ change: 'set', name: 'theirs', id: smallId }]);
  const store = await folder.open();
  appendFileSync(folder.at('roots.log'), record);
  await store.roots.set('ours', smallId);
  assert.deepEqual(
    (await store.roots.list()).map(({ name }) => name),
    ['ours', 'theirs'],
  );
});

const tails: Record<string, (record: Buffer) => Uint8Array> = {
  'half a record': (record) => record.subarray(0, record.length >> 1),
  'one byte': (record) => record.subarray(0, 1),
  junk: () => noise(700),
  zeros: () => new Uint8Array(5000),
  'a record with a wrong bit': (record) => record.map((byte, i) => (i === 25 ? byte ^ 1 : byte)),
  'a record that says it is huge': (record) => Buffer.concat([Buffer.from([255, 255, 255, 255]), record]),
};
for (const [what, make] of Object.entries(tails)) {
  storeTest(
    `a root log that ends in ${what} is cut there, and what stands before it counts`,
    async (folder) => {
      const { smallId, largeId } = await closed(folder);
      const whole = nextRecords(folder, [{ change: 'set', name: 'main', id: smallId }]);
      const both = nextRecords(folder, [
        { change: 'set', name: 'main', id: smallId },
        { change: 'set', name: 'torn', id: largeId },
      ]);
      const torn = make(both.subarray(whole.length));
      appendFileSync(folder.at('roots.log'), Buffer.concat([whole, torn]));
      const { offset } = stateOf(folder).log;
      const store = await folder.open();
      assert.equal(readFileSync(folder.at('roots.log')).length, offset + whole.length);
      assert.equal(await store.roots.get('main'), smallId);
      assert.equal(await store.roots.get('torn'), undefined);
      await store.roots.set('after', largeId);
      await reads(store, [small, large]);
      assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
    },
  );
}

storeTest(
  'a record that names a blob that is nowhere blocks collection, and nothing else',
  async (folder) => {
    await closed(folder);
    const record = nextRecords(folder, [{ change: 'set', name: 'main', id: unknownId }]);
    appendFileSync(folder.at('roots.log'), record);
    const store = await folder.open();
    await store.put(noise(60));
    const { deleted, blocked } = await store.gc({ graceMs: 0 });
    assert.equal(deleted, 0);
    assert.match(blocked!, /1 blob\(s\) that are not in the catalog/);
    await reads(store, [small, large]);
  },
);

storeTest('a catalog from an older copy takes in again all that was acknowledged since', async (folder) => {
  await closed(folder);
  const old = join(folder.side, 'index.db');
  copyFileSync(folder.at('index.db'), old);
  const store = await folder.open();
  const later = [noise(700, 11), noise(0), noise(50_000, 12), noise(20_000, 13), noise(9_000, 14)];
  await putAll(store, later, 'later');
  await store.roots.set('main', sha256(later[0]!));
  await store.roots.set('files', sha256(later[2]!));
  const node = await store.put(text('listing'), {
    links: [{ kind: 'raw', id: sha256(later[3]!) }],
    owner: 'trees',
  });
  await store.release(sha256(later[3]!), 'later');
  await store.close();
  for (const name of ['index.db', 'index.db-wal', 'index.db-shm']) rmSync(folder.at(name), { force: true });
  copyFileSync(old, folder.at('index.db'));

  for (let round = 0; round < 2; round++) {
    const again = await folder.open();
    await reads(again, [small, large, ...later]);
    assert.deepEqual((await again.getNode(node.id))?.links, [{ kind: 'raw', id: sha256(later[3]!) }]);
    assert.equal(await again.roots.get('main'), sha256(later[0]!));
    assert.equal(await again.roots.get('files'), sha256(later[2]!));
    const collected = await again.gc({ graceMs: 0 });
    assert.deepEqual([collected.deleted, collected.blocked], [0, undefined], 'owners hold all of it');
    assert.equal((await again.stats()).blobs, 3 + later.length);
    await again.close();
  }
});

storeTest(
  'a root log shorter than the catalog remembers blocks collection; reads and puts go on',
  async (folder) => {
    const { smallId } = await closed(folder);
    const { offset } = stateOf(folder).log;
    truncateSync(folder.at('roots.log'), offset - 10);
    const store = await folder.open();
    await reads(store, [small, large]);
    const { id } = await store.put(noise(80));
    const { deleted, blocked } = await store.gc({ graceMs: 0 });
    assert.equal(deleted, 0);
    assert.match(blocked!, /roots\.log is shorter/);
    assert.equal(await store.has(id), true);
    await store.roots.set('main', smallId);
    assert.equal(await store.roots.get('main'), smallId);
  },
);

storeTest('temps, lease files and leases of dead processes are swept at the next open', async (folder) => {
  await closed(folder);
  const strays = ['d', 'e', 'f'].map((digit) => digit.repeat(32));
  for (const [i, lease] of strays.entries()) {
    mkdirSync(folder.at('tmp', lease));
    writeFileSync(folder.at('tmp', lease, 'staged'), large);
    if (i === 0) continue; // a temp folder whose lease is nowhere
    writeFileSync(folder.at('leases', `${lease}.db`), '');
    writeFileSync(folder.at('leases', `${lease}.library`), 'nobody\nnothing\n');
  }
  folder.edit((db) => {
    db.prepare('INSERT INTO leases (uuid, pid, started, horizon) VALUES (?, 1, 1, 1)').run(strays[2]);
    db.prepare(`UPDATE volumes SET lease = ? WHERE kind = 'sqlite'`).run(strays[2]);
  });
  const living = await folder.open();
  const store = await folder.open();
  assert.equal(readdirSync(folder.at('tmp')).length, 2, 'those of the two open stores');
  assert.equal(folder.files('tmp').length, 0);
  assert.equal(readdirSync(folder.at('leases')).length, 4);
  await living.put(noise(90));
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 1, 'a dead session holds nothing');
});

/** A file in its place under blobs/, as a put leaves it just before its commit. */
function publish(folder: StoreFolder, id: BlobId, incarnation: number, bytes: Uint8Array): string {
  mkdirSync(folder.at('blobs', id.slice(0, 2)), { recursive: true });
  const path = folder.at('blobs', id.slice(0, 2), `${id}.${incarnation.toString(16)}`);
  writeFileSync(path, bytes);
  return path;
}

function intend(folder: StoreFolder, id: BlobId, incarnation: number): void {
  folder.edit((db) =>
    db
      .prepare('INSERT INTO intents (lease, id, incarnation, framed) VALUES (?, ?, ?, 0)')
      .run(deadLease, Buffer.from(id, 'hex'), incarnation),
  );
}

storeTest('files that a dead process published are adopted when they are what they say', async (folder) => {
  const { largeId } = await closed(folder);
  const good = noise(40_000, 21);
  const wrong = noise(40_000, 22);
  const wrongId = sha256('something else');
  const goodPath = publish(folder, sha256(good), 5, good);
  const wrongPath = publish(folder, wrongId, 6, wrong);
  const second = publish(folder, largeId, 7, large);
  for (const [id, incarnation] of [
    [sha256(good), 5],
    [wrongId, 6],
    [largeId, 7],
    [unknownId, 8], // intended, never published
  ] as const)
    intend(folder, id, incarnation);

  for (let round = 0; round < 2; round++) {
    const store = await folder.open();
    await reads(store, [good, large, small]);
    assert.equal(await store.pathOf(sha256(good)), goodPath);
    assert.equal(await store.has(wrongId), false);
    assert.equal(await store.has(unknownId), false);
    assert.deepEqual(readdirSync(folder.at('quarantine')), [`${wrongId}.6`]);
    assert.equal(sha256(readFileSync(folder.at('quarantine', `${wrongId}.6`))), sha256(wrong));
    assert.deepEqual([existsSync(wrongPath), existsSync(second)], [false, false]);
    await store.close();
  }
  folder.edit((db) => assert.equal(db.prepare('SELECT count(*) FROM intents').pluck().get(), 0));
  const store = await folder.open();
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 1, 'adopted, and owned by nobody');
});

storeTest('an intent of a living process is left alone by those who open beside it', async (folder) => {
  const living = await folder.open();
  const bytes = noise(40_000, 23);
  const path = publish(folder, sha256(bytes), 5, bytes);
  const [lease] = readdirSync(folder.at('tmp'));
  folder.edit((db) =>
    db
      .prepare('INSERT INTO intents (lease, id, incarnation, framed) VALUES (?, ?, 5, 0)')
      .run(lease, Buffer.from(sha256(bytes), 'hex')),
  );
  const store = await folder.open();
  assert.equal(await store.has(sha256(bytes)), false);
  const { adopted } = await store.scrub();
  assert.deepEqual([adopted, existsSync(path)], [0, true]);
  await store.close();
  await living.close();
  // The one who left without finishing it is dead now.
  assert.equal(await (await folder.open()).has(sha256(bytes)), true);
});

storeTest('tombstones that were not carried out are carried out at the next open', async (folder) => {
  await closed(folder);
  const bytes = noise(40_000, 24);
  const path = publish(folder, sha256(bytes), 5, bytes);
  folder.edit((db) =>
    db
      .prepare('INSERT INTO tombstones (volume, id, incarnation, framed, bytes) VALUES (1, ?, 5, 0, ?)')
      .run(Buffer.from(sha256(bytes), 'hex'), bytes.length),
  );
  const store = await folder.open();
  assert.equal(existsSync(path), false);
  await reads(store, [small, large]);
});
