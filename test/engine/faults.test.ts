/** I/O calls that fail, one in each run: nothing is acknowledged falsely, the store reopens, collection works, a full disk is survived. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { toStoreError } from '../../engine/errors.ts';
import {
  type BlobId,
  type Store,
  StoreError,
  nodeHost,
  openStore,
  rebuildStore,
} from '../../engine/index.ts';
import { type Fault, type FaultyHost, faultyHost } from '../world/faulty-host.ts';
import { noise, sha256, smallParameters, storeTest, withCode } from './store-folder.ts';
import { sample } from '../crash/sample.ts';

const options = { threads: { count: 0 }, parameters: smallParameters } as const;
const kept = noise(900, 1);
const root = noise(1200, 2);
const released = noise(smallParameters.smallMax + 500, 3);
const streamed = noise(smallParameters.smallMax * 3, 4);
const byPath = noise(smallParameters.smallMax * 2, 5);
/** Two writes of a temp file. */
const framed = noise(1_200_000, 7);
const unowned = noise(smallParameters.smallMax + 900, 6);

/** What a run of the scenario was told, and by whom it is to be judged. */
interface Told {
  /** Contents whose put with an owner was acknowledged and that nobody tried to release. */
  readonly held: Map<BlobId, Uint8Array>;
  root: BlobId | undefined;
  readonly errors: unknown[];
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 5000) yield bytes.slice(at, at + 5000);
}

/** Opens a fresh store and does a bit of everything; goes on after failures, and remembers what it was told. */
async function scenario(host: FaultyHost, path: string, source: string): Promise<Told> {
  const told: Told = { held: new Map(), root: undefined, errors: [] };
  const attempt = async (work: () => Promise<unknown>): Promise<boolean> => {
    try {
      await work();
      return true;
    } catch (error) {
      told.errors.push(error);
      return false;
    }
  };
  const put = async (store: Store, bytes: Uint8Array, from: Parameters<Store['put']>[0]): Promise<void> => {
    if (await attempt(() => store.put(from, { owner: 'x' }))) told.held.set(sha256(bytes), bytes);
  };
  let store: Store | undefined;
  if (!(await attempt(async () => void (store = await openStore(path, { ...options, host }))))) return told;
  const open = store!;
  await put(open, kept, kept);
  await put(open, root, root);
  await put(open, released, released);
  await put(open, byPath, { path: source });
  await put(open, streamed, pieces(streamed));
  await attempt(() => open.put(unowned));
  if (await attempt(() => open.roots.set('main', sha256(root)))) told.root = sha256(root);
  await attempt(() => open.get(sha256(byPath)));
  told.held.delete(sha256(released));
  await attempt(() => open.release(sha256(released), 'x'));
  await attempt(() => open.gc({ graceMs: 0 }));
  await attempt(() => open.close());
  return told;
}

/** Every promise was kept: by a sound host everything told is found, and the store is whole. */
async function judge(path: string, told: Told): Promise<void> {
  for (const error of told.errors)
    assert.ok(StoreError.is(error), `a plain error came out: ${String((error as Error).stack)}`);
  const store = await openStore(path, options);
  try {
    for (const [id, bytes] of told.held) {
      const got = await store.get(id);
      assert.ok(got !== undefined && Buffer.compare(got, bytes) === 0, `${bytes.length} bytes are here`);
    }
    if (told.root !== undefined) assert.equal(await store.roots.get('main'), told.root);
    const { damaged, recounted, badRows } = await store.scrub();
    assert.deepEqual([damaged, recounted, badRows], [[], 0, 0]);
    const { blocked, held } = await store.gc({ graceMs: 0 });
    assert.deepEqual([blocked, held], [undefined, 0]);
    await store.put(noise(50), { owner: 'after' });
  } finally {
    await store.close();
  }
  for (const folder of ['tmp', 'leases']) assert.deepEqual(readdirSync(join(path, folder)), [], folder);
}

/** Each code has every twelfth call of a store's life, in a sample half of those; with HOLDFAST_FAULTS=all each has every one. */
const shares: Readonly<Record<string, number>> = { EIO: 0, ENOSPC: 4 };

const effects = ['none', 'half', 'whole'] as const;

for (const [code, share] of Object.entries(shares)) {
  storeTest(
    `an I/O call of a store's life that fails once with ${code} breaks no promise`,
    async (folder, t) => {
      folder.leavesNoStore();
      const source = folder.file('source', byPath);
      const recorder = faultyHost(nodeHost({ inline: true }));
      const sound = await scenario(recorder, join(folder.side, 'sound'), source);
      assert.deepEqual([sound.errors, sound.held.size, recorder.struck], [[], 4, 0]);
      await judge(join(folder.side, 'sound'), sound);
      const { length } = recorder.calls;
      const chosen = Array.from({ length }, (_, i) => i + 1).filter(
        (nth) => process.env['HOLDFAST_FAULTS'] === 'all' || nth % sample(12, 24) === share,
      );
      const broken: string[] = [];
      for (const nth of chosen) {
        const path = join(folder.side, `run-${nth}`);
        const host = faultyHost(nodeHost({ inline: true }));
        host.arm({ code, nth, effect: effects[nth % effects.length]! });
        const told = await scenario(host, path, source);
        const struck = host.calls.find(({ outcome }) => outcome === 'injected');
        host.disarm();
        try {
          await judge(path, told);
        } catch (error) {
          const where = `call ${nth}: ${effects[nth % effects.length]} of ${struck?.operation} ${struck?.path.slice(path.length)}`;
          broken.push(
            `${where}\n${told.errors.map(String).join('\n')}\n→ ${String((error as Error).message)}`,
          );
        }
        rmSync(path, { recursive: true });
      }
      assert.deepEqual(broken, [], broken.join('\n\n'));
      t.diagnostic(`${chosen.length} of ${length} calls failed with ${code}`);
    },
    existsSync('/dev/shm') ? { under: '/dev/shm' } : {},
  );
}

/** Write paths, and what is done until they are reached. */
const writes: Record<string, { fault: Omit<Fault, 'code'>; work: (store: Store) => Promise<unknown> }> = {
  'a temp file': {
    fault: { operations: ['file.write'], path: '/tmp/' },
    work: (store) => store.put(streamed, { owner: 'x' }),
  },
  'what is written behind': {
    fault: { operations: ['file.writeLater'], path: '/tmp/', nth: 2, effect: 'half' },
    work: (store) => store.put(framed, { owner: 'x', compression: 'always' }),
  },
  'the sync of a file': {
    fault: { operations: ['file.sync'], path: '/tmp/' },
    work: (store) => store.put(streamed, { owner: 'x' }),
  },
  'the sync of a folder': {
    fault: { operations: ['syncFolder'], path: '/blobs/' },
    work: (store) => store.put(streamed, { owner: 'x' }),
  },
  'the root log': {
    fault: { operations: ['file.write'], path: 'roots.log' },
    work: (store) => store.roots.set('main', sha256(kept)),
  },
  'the sync of the root log': {
    fault: { operations: ['file.sync'], path: 'roots.log' },
    work: (store) => store.retain(sha256(kept), 'z'),
  },
};
for (const [what, { fault, work }] of Object.entries(writes)) {
  storeTest(
    `after EIO in ${what} nothing is written until the store is reopened, reads go on`,
    async (folder) => {
      const host = faultyHost(nodeHost({ inline: true }));
      const store = await folder.open({ host });
      await store.put(kept, { owner: 'x' });
      await store.put(byPath, { owner: 'x' });
      const told: string[] = [];
      store.on('needs-reopen', ({ code }) => told.push(code));
      host.arm({ ...fault, code: 'EIO' });
      await assert.rejects(work(store), withCode('needs-reopen'));
      assert.equal(host.struck, 1);
      const later: (() => Promise<unknown>)[] = [
        () => work(store),
        () => store.put(noise(40)),
        () => store.put(noise(40_000)),
        () => store.retain(sha256(kept), 'y'),
        () => store.roots.set('other', sha256(kept)),
        () => store.gc({ graceMs: 0 }),
      ];
      for (const write of later) await assert.rejects(write(), withCode('needs-reopen'));
      for (const bytes of [kept, byPath])
        assert.equal(sha256((await store.get(sha256(bytes)))!), sha256(bytes));
      assert.deepEqual(told, ['needs-reopen'], 'told once');
      await store.close();
      const again = await folder.open();
      await work(again);
      assert.equal((await again.gc({ graceMs: 0 })).blocked, undefined);
    },
  );

  storeTest(`after ENOSPC in ${what} everything goes on once there is room`, async (folder) => {
    const host = faultyHost(nodeHost({ inline: true }));
    const store = await folder.open({ host });
    await store.put(kept, { owner: 'x' });
    host.arm({ ...fault, code: 'ENOSPC' });
    await assert.rejects(work(store), withCode('no-space'));
    assert.equal(sha256((await store.get(sha256(kept)))!), sha256(kept));
    await work(store);
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  });
}

storeTest('where the disk fails as an encrypted store is made, no other one is made', async (folder) => {
  const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(3) } } as const;
  const host = faultyHost(nodeHost({ inline: true }));
  host.arm({ operations: ['facts'], path: 'superblock', code: 'EIO' });
  await assert.rejects(folder.open({ host, encryption }), withCode('unavailable'));
  assert.equal(host.struck, 1);
  const store = await folder.open({ encryption });
  assert.ok(store.parameters.encryption !== null);
});

storeTest('where the disk fails as keys are looked for, the error is ours', async (folder) => {
  const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(3) } } as const;
  await (await folder.open({ encryption })).close();
  const host = faultyHost(nodeHost({ inline: true }));
  host.arm({ operations: ['list'], code: 'EIO' });
  await assert.rejects(folder.open({ host, encryption }), withCode('unavailable'));
  assert.equal(host.struck, 1);
});

storeTest(
  'a half-written marker of this process that cannot be removed does not lock it out',
  async (folder) => {
    await (await folder.open()).close();
    const host = faultyHost(nodeHost({ inline: true }));
    host.arm({
      operations: ['file.write', 'removeFile'],
      path: '.library',
      code: 'EIO',
      lasts: 'sticky',
      effect: 'half',
    });
    await assert.rejects(folder.open({ host }), withCode('unavailable'));
    assert.ok(host.struck > 1);
    await (await folder.open()).put(kept, { owner: 'x' });
  },
);

storeTest('where the disk cannot close what a stream read, the lease is given back', async (folder) => {
  const host = faultyHost(nodeHost({ inline: true }));
  const store = await openStore(folder.path, { ...options, host });
  await store.put(byPath, { owner: 'x' });
  await (await store.stream(sha256(byPath)))!.getReader().read();
  host.arm({ operations: ['file.close'], path: '/blobs/', code: 'EIO', lasts: 'sticky' });
  await assert.rejects(store.close(), withCode('unavailable'));
  assert.deepEqual([readdirSync(folder.at('leases')), readdirSync(folder.at('tmp'))], [[], []]);
});

storeTest('where the disks of a mirrored group do not answer, a scrub says so', async (folder) => {
  const host = faultyHost(nodeHost({ inline: true }));
  const store = await folder.open({ host });
  await store.volumes.extend(join(folder.side, 'disk'));
  await store.volumes.extend(join(folder.side, 'packs'), { kind: 'sqlite' });
  await store.volumes.mirror(2);
  host.arm({ operations: ['facts'], code: 'EIO', lasts: 'sticky' });
  await assert.rejects(store.scrub(), withCode('unavailable'));
  host.disarm();
  assert.deepEqual((await store.scrub()).damaged, []);
});

storeTest(
  'a root log that the disk cannot read is told, and stops nothing but collection',
  async (folder) => {
    const host = faultyHost(nodeHost({ inline: true }));
    const store = await folder.open({ host });
    const { id } = await store.put(kept, { owner: 'x' });
    host.arm({ operations: ['file.read'], path: 'roots.log', code: 'EIO', lasts: 'sticky' });
    const { rootLog } = await store.scrub();
    assert.equal(rootLog?.mended, false);
    assert.match(rootLog.problem, /cannot be read/);
    assert.match((await store.gc({ graceMs: 0 })).blocked!, /cannot be read/);
    await store.roots.set('a', id);
    host.disarm();
    assert.equal((await store.scrub()).rootLog, undefined);
    assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
  },
);

for (const operation of ['file.write', 'file.truncate', 'file.sync'] as const)
  storeTest(`a mending of the root log that fails at ${operation} is done again`, async (folder) => {
    const host = faultyHost(nodeHost({ inline: true }));
    const store = await folder.open({ host });
    const { id } = await store.put(kept, { owner: 'x' });
    for (let i = 0; i < 9; i++) await store.roots.set(`root ${i}`, id);
    for (let i = 0; i < 9; i++) await store.roots.delete(`root ${i}`);
    await store.roots.set('last', id);
    const log = readFileSync(folder.at('roots.log'));
    log[700]! ^= 1;
    writeFileSync(folder.at('roots.log'), log);
    host.arm({
      operations: [operation],
      path: /store\/roots\.log$/,
      code: 'EIO',
      nth: operation === 'file.write' ? 2 : 1,
      effect: 'half',
    });
    await assert.rejects(store.scrub(), withCode('needs-reopen'));
    assert.equal(host.struck, 1);
    host.disarm();
    await folder.closeAll();
    const again = await folder.open();
    await again.scrub();
    assert.equal((await again.scrub()).rootLog, undefined);
    await folder.closeAll();
    const { gap, lost } = await rebuildStore(folder.path);
    assert.deepEqual([gap, lost], [undefined, []]);
    const rebuilt = await folder.open();
    assert.deepEqual(
      (await rebuilt.roots.list()).map(({ name }) => name),
      ['last'],
    );
    assert.equal(await rebuilt.release(id, 'x'), true);
  });

storeTest('EIO in a read is an error of that read alone', async (folder) => {
  const host = faultyHost(nodeHost({ inline: true }));
  const store = await folder.open({ host });
  await store.put(byPath, { owner: 'x' });
  // A disk that cannot read a place once may read it the second time.
  host.arm({ operations: ['file.read'], path: '/blobs/', code: 'EIO' });
  assert.equal(sha256((await store.get(sha256(byPath)))!), sha256(byPath));
  assert.equal(host.struck, 1);
  host.arm({ operations: ['file.read'], path: '/blobs/', code: 'EIO', lasts: 'sticky' });
  await assert.rejects(store.get(sha256(byPath)), withCode('unavailable'));
  // A scrub reads the rest all the same, and says of how many it knows nothing.
  await store.put(noise(11), { owner: 'x' });
  const { blobs, damaged, unreachable, unreadable } = await store.scrub();
  assert.deepEqual([blobs, damaged, unreachable], [1, [], 1]);
  // Named as damage is, and not marked.
  assert.deepEqual(
    unreadable.map(({ id, references, touches }) => ({ id, references, owners: touches.owners })),
    [{ id: sha256(byPath), references: 1, owners: ['x'] }],
  );
  assert.match(unreadable[0]!.reason, /EIO/);
  // Nor does a file that somebody has closed to us keep a scrub from the rest.
  host.disarm();
  host.arm({ operations: ['open'], path: '/blobs/', code: 'EACCES', lasts: 'sticky' });
  const barred = await store.scrub();
  assert.deepEqual([barred.blobs, barred.damaged, barred.unreachable], [1, [], 1]);
  assert.match(barred.unreadable[0]!.reason, /EACCES/);
  host.disarm();
  assert.equal(sha256((await store.get(sha256(byPath)))!), sha256(byPath));
  await store.put(noise(10), { owner: 'x' });
  assert.equal((await store.stats()).suspect, 0);
});

storeTest(
  'a full disk: what was acknowledged is readable, collection makes room, and puts work again',
  async (folder, t) => {
    folder.leavesNoStore();
    const disk = join(folder.side, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'holdfast-test', disk], { stdio: 'pipe' });
    } catch (error) {
      t.skip(`NOT TESTED: mount is not allowed here: ${String(error)}`);
      return;
    }
    try {
      for (const threads of [{ count: 0 }, { count: 2 }]) {
        const path = join(disk, `store-${threads.count}`);
        const store = await openStore(path, { threads });
        const acknowledged = new Map<BlobId, boolean>();
        const fill = async (size: number): Promise<void> => {
          for (let i = 0; ; i++) {
            const bytes = noise(size, size + i);
            const owned = i % 2 === 0;
            try {
              const { id } = await store.put(bytes, owned ? { owner: 'x' } : {});
              acknowledged.set(id, owned);
            } catch (error) {
              return void withCode('no-space')(error);
            }
          }
        };
        // Large ones first, then what still goes in beside them, down to the last page.
        await fill(1024 * 1024);
        await fill(100_000);
        await fill(2000);
        writeFileSync(join(disk, 'last'), '');
        assert.ok(statfsSync(disk).bavail < 40, `${statfsSync(disk).bavail} blocks are free`);
        for (const id of acknowledged.keys()) assert.equal(sha256((await store.get(id))!), id);

        const { deleted, freedBytes, blocked } = await store.gc({ graceMs: 0 });
        const unownedIds = [...acknowledged].filter(([, owned]) => !owned);
        // A put that was refused may have left its bytes; they go with the others.
        assert.ok(deleted >= unownedIds.length && blocked === undefined, `${deleted} deleted, ${blocked}`);
        assert.ok(freedBytes > 5 * 1024 * 1024, `${freedBytes} bytes`);
        for (const [id, owned] of acknowledged) assert.equal(await store.has(id), owned);
        await store.put(noise(1024 * 1024, 77), { owner: 'y' });
        await store.put(noise(2000, 77), { owner: 'y' });
        for (const [id, owned] of acknowledged) if (owned) assert.equal(await store.release(id, 'x'), true);
        assert.equal((await store.gc({ graceMs: 0 })).held, 0);
        assert.equal((await store.scrub()).damaged.length, 0);
        assert.equal((await store.stats()).blobs, 2);
        await store.close();
        rmSync(path, { recursive: true });
      }
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  },
  { skip: process.getuid?.() === 0 ? false : 'NOT TESTED: only root can mount a file system' },
);

storeTest('no store is made within the folder of another, which would clear it away', async (folder) => {
  await (await folder.open()).put(byPath, { owner: 'x' });
  await folder.closeAll();
  for (const within of ['tmp', 'leases', 'new/deep'])
    await assert.rejects(openStore(folder.at(within)), withCode('invalid-argument'));
  assert.deepEqual([readdirSync(folder.at('tmp')), existsSync(folder.at('new'))], [[], false]);
  assert.ok(await (await folder.open()).has(sha256(byPath)));
});

test('SQLite that may not write is `forbidden`, and a file that was moved away is doubt', () => {
  const told = (code: string): Error => toStoreError(Object.assign(new Error(code), { code }), 'opening');
  for (const code of ['SQLITE_READONLY', 'SQLITE_READONLY_DIRECTORY', 'SQLITE_READONLY_CANTINIT'])
    assert.ok(StoreError.is(told(code), 'forbidden'), code);
  assert.ok(StoreError.is(told('SQLITE_READONLY_DBMOVED'), 'unavailable'));
});
