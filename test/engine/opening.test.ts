/** Opening: what becomes a store, what is refused with which code, two openers at once, reading only, half-made stores finished. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import Database from 'better-sqlite3';
import { decodeSuperblock, encodeSuperblock, type Superblock } from '../../engine/codec/superblock.ts';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { type Host, type Store, nodeHost, nodeProvider, openStore } from '../../engine/index.ts';
import {
  type StoreFolder,
  noise,
  sha256,
  smallParameters,
  storeTest,
  text,
  withCode,
} from './store-folder.ts';

const small = noise(1000, 1);
const large = noise(smallParameters.smallMax + 1, 2);
const inline = { threads: { count: 0 }, parameters: smallParameters } as const;

/** A closed store with a small and a large blob, and a root. */
async function filled(folder: StoreFolder): Promise<void> {
  const store = await folder.open();
  await store.put(small, { owner: 'x' });
  await store.roots.set('main', (await store.put(large, { owner: 'x' })).id);
  await store.close();
}

async function holdsAll(store: Store): Promise<void> {
  for (const bytes of [small, large])
    assert.equal(Buffer.compare((await store.get(sha256(bytes)))!, bytes), 0);
  assert.equal(await store.roots.get('main'), sha256(large));
}

/** Everything in a folder that a write would change: names, bytes, times. What SQLite keeps beside the catalog while it is open is not. */
function snapshot(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
  const facts = names
    .filter((name) => !/index\.db-(?:wal|shm)$/.test(name))
    .map((name) => {
      const at = join(path, name);
      const { mtimeNs } = statSync(at, { bigint: true });
      const content = statSync(at).isFile() ? sha256(readFileSync(at)) : 'folder';
      return [name, `${content} ${mtimeNs}`] as const;
    });
  return Object.fromEntries(facts.sort());
}

type Mode = 'create' | 'open' | 'read-only';
const writing: readonly Mode[] = ['create', 'open'];
const every: readonly Mode[] = [...writing, 'read-only'];

async function refuses(folder: StoreFolder, code: string, modes = every): Promise<void> {
  for (const mode of modes) await assert.rejects(openStore(folder.path, { ...inline, mode }), withCode(code));
}

storeTest('two stores open on one folder in one process see what the other puts', async (folder) => {
  const first = await folder.open({ threads: { count: 1 } });
  const second = await folder.open({ threads: { count: 1 } });
  const put = (store: Store, seed: number) =>
    Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const bytes = noise(i % 4 === 0 ? 20_000 + i : 100 + i, seed + i);
        return (await store.put(bytes, { owner: `s${seed}` })).id;
      }),
    );
  const [mine, others] = await Promise.all([put(first, 1000), put(second, 2000)]);
  for (const store of [first, second]) {
    for (const id of [...mine, ...others]) assert.equal(sha256((await store.get(id))!), id);
  }
  await first.close();
  assert.equal((await second.put(noise(50), { owner: 'x' })).deduplicated, false);
  assert.equal(await second.release(mine[0]!, 's1000'), true);
});

storeTest('a second copy of SQLite in one process is refused, and harms nothing', async (folder) => {
  const module = join(folder.side, 'node_modules', 'better-sqlite3');
  const ours = dirname(fileURLToPath(import.meta.resolve('better-sqlite3')));
  for (const part of ['lib', 'prebuilds', 'package.json'])
    cpSync(join(ours, '..', part), join(module, part), { recursive: true });
  const driver = { module: pathToFileURL(join(module, 'lib', 'index.js')).href };
  for (const count of [0, 1]) {
    const store = await folder.open({ threads: { count } });
    const { id } = await store.put(small, { owner: 'x' });
    await assert.rejects(openStore(folder.path, { threads: { count }, driver }), withCode('busy'));
    assert.equal(sha256((await store.get(id))!), id);
    await store.put(noise(200 + count), { owner: 'x' });
    assert.equal((await store.scrub()).damaged.length, 0);
    await store.close();
  }
  // Alone, the other copy is as good as ours.
  await (await folder.open({ driver })).close();
});

storeTest('nothing there, a file, and a folder that is not a store are not-a-store', async (folder) => {
  folder.leavesNoStore();
  const open = (mode: Mode) => openStore(folder.path, { ...inline, mode });
  for (const mode of ['open', 'read-only'] as const) {
    await assert.rejects(open(mode), withCode('not-a-store'));
    assert.equal(existsSync(folder.path), false, 'nothing was made');
  }
  mkdirSync(folder.path);
  for (const mode of ['open', 'read-only'] as const)
    await assert.rejects(open(mode), withCode('not-a-store'));
  assert.deepEqual(readdirSync(folder.path), []);
  writeFileSync(folder.at('photo.jpg'), small);
  const before = snapshot(folder.path);
  for (const mode of every) await assert.rejects(open(mode), withCode('not-a-store'));
  assert.deepEqual(snapshot(folder.path), before);
  writeFileSync(folder.at('superblock'), 'somebody else’s superblock\n');
  await refuses(folder, 'not-a-store');
  rmSync(folder.path, { recursive: true });
  writeFileSync(folder.path, small);
  await refuses(folder, 'not-a-store');
  assert.equal(sha256(readFileSync(folder.path)), sha256(small));
});

const superblocks: Record<string, { change: (superblock: Superblock) => Superblock; reads: boolean }> = {
  'a newer format': { change: (block) => ({ ...block, format: block.format + 1 }), reads: false },
  'an unknown feature': { change: (block) => ({ ...block, incompat: ['holographic'] }), reads: false },
  'an unknown feature that only matters for writing': {
    change: (block) => ({ ...block, roCompat: ['ledger'] }),
    reads: true,
  },
};
for (const [what, { change, reads }] of Object.entries(superblocks)) {
  storeTest(`a store with ${what} is incompatible-format`, async (folder) => {
    await filled(folder);
    const original = readFileSync(folder.at('superblock'));
    const superblock = change(decodeSuperblock(nodeProvider, original));
    writeFileSync(folder.at('superblock'), encodeSuperblock(nodeProvider, superblock));
    const before = snapshot(folder.path);
    await refuses(folder, 'incompatible-format', writing);
    if (reads) await holdsAll(await folder.open({ mode: 'read-only' }));
    else await refuses(folder, 'incompatible-format', ['read-only']);
    assert.deepEqual(snapshot(folder.path), before);
    await folder.closeAll();
    writeFileSync(folder.at('superblock'), original);
  });
}

storeTest('an unknown feature that does not matter is ignored', async (folder) => {
  await filled(folder);
  const superblock = decodeSuperblock(nodeProvider, readFileSync(folder.at('superblock')));
  const changed = { ...superblock, compat: ['thumbnails'] };
  writeFileSync(folder.at('superblock'), encodeSuperblock(nodeProvider, changed));
  await holdsAll(await folder.open());
});

storeTest('a newer catalog is incompatible-format', async (folder) => {
  await filled(folder);
  let version = 0;
  folder.edit((db) => {
    version = db.pragma('user_version', { simple: true }) as number;
    db.pragma(`user_version = ${version + 1}`);
  });
  await refuses(folder, 'incompatible-format');
  assert.deepEqual(readdirSync(folder.at('leases')), []);
  folder.edit((db) => db.pragma(`user_version = ${version}`));
});

storeTest('a newer volume is incompatible-format when it is read', async (folder) => {
  await filled(folder);
  const [volume] = folder.files('volumes').filter((path) => path.endsWith('.db'));
  const raise = (to: number): void => {
    const db = new Database(volume);
    db.pragma(`user_version = ${to}`);
    db.close();
  };
  raise(7);
  const store = await folder.open({ mode: 'read-only' });
  await assert.rejects(store.get(sha256(small)), withCode('incompatible-format'));
  assert.equal(sha256((await store.get(sha256(large)))!), sha256(large));
  await store.close();
  const writer = await folder.open();
  await assert.rejects(writer.get(sha256(small)), withCode('incompatible-format'));
  const { id } = await writer.put(text('into another volume'), { owner: 'x' });
  assert.deepEqual(await writer.get(id), text('into another volume'));
  assert.equal(sha256((await writer.get(sha256(large)))!), sha256(large));
  await writer.close();
  raise(0);
});

const losses: Record<string, { code?: string; lose: (folder: StoreFolder) => void; file: string }> = {
  'without index.db': {
    file: 'index.db',
    lose: (folder) => rmSync(folder.at('index.db')),
  },
  'whose index.db is junk': {
    file: 'index.db',
    lose: (folder) => writeFileSync(folder.at('index.db'), noise(8192)),
  },
  'whose index.db is empty': {
    file: 'index.db',
    lose: (folder) => writeFileSync(folder.at('index.db'), ''),
  },
  'without roots.log': {
    file: 'roots.log',
    lose: (folder) => rmSync(folder.at('roots.log')),
  },
  'whose roots.log is junk': {
    file: 'roots.log',
    lose: (folder) => writeFileSync(folder.at('roots.log'), noise(500)),
  },
  'whose roots.log is of another store': {
    file: 'roots.log',
    lose(folder) {
      const bytes = readFileSync(folder.at('roots.log'));
      bytes[8]! ^= 1;
      writeFileSync(folder.at('roots.log'), bytes);
    },
  },
  'whose superblock is damaged': {
    code: 'corrupt',
    file: 'superblock',
    lose(folder) {
      const bytes = readFileSync(folder.at('superblock'));
      bytes[40]! ^= 1;
      writeFileSync(folder.at('superblock'), bytes);
    },
  },
  'whose superblock was cut': {
    code: 'corrupt',
    file: 'superblock',
    lose: (folder) => truncateSync(folder.at('superblock'), 60),
  },
};
for (const [what, { code = 'needs-rebuild', file, lose }] of Object.entries(losses)) {
  storeTest(`a store ${what} is ${code}, and nothing of it is touched`, async (folder) => {
    await filled(folder);
    const kept = join(folder.side, file);
    copyFileSync(folder.at(file), kept);
    lose(folder);
    const before = snapshot(folder.at('blobs'));
    await refuses(folder, code, writing);
    assert.deepEqual(snapshot(folder.at('blobs')), before);
    assert.deepEqual([readdirSync(folder.at('leases')), readdirSync(folder.at('tmp'))], [[], []]);
    rmSync(folder.at(file), { force: true });
    renameSync(kept, folder.at(file));
    const store = await folder.open();
    await holdsAll(store);
  });
}

storeTest(
  'a store open for reading reads everything, refuses every write and changes nothing',
  async (folder) => {
    await filled(folder);
    const path = folder.file('source', large.subarray(1));
    const before = snapshot(folder.path);
    for (const count of [0, 2]) {
      const store = await folder.open({ mode: 'read-only', threads: { count } });
      await holdsAll(store);
      assert.equal((await store.stat(sha256(small)))?.references, 1);
      assert.equal((await store.stats()).blobs, 2);
      assert.equal((await store.roots.log()).length, 3);
      const id = sha256(small);
      const writes: Record<string, () => Promise<unknown>> = {
        'put of what is here': () => store.put(small),
        'put of a small one': () => store.put(noise(70)),
        'put of a large one': () => store.put(noise(40_000)),
        'put by path': () => store.put({ path }),
        retain: () => store.retain(id, 'y'),
        release: () => store.release(id, 'x'),
        'set a root': () => store.roots.set('new', id),
        'delete a root': () => store.roots.delete('main'),
        session: () => store.session(),
        'side table': () => store.sideTable('t').set([['k', small]]),
        gc: () => store.gc({ graceMs: 0 }),
        'dry gc': () => store.gc({ dryRun: true }),
        scrub: () => store.scrub(),
      };
      for (const [name, write] of Object.entries(writes))
        await assert.rejects(write(), withCode('forbidden'), name);
      assert.equal(await store.exportTo({ id, path: join(folder.side, `out-${count}`) }), true);
      await store.close();
    }
    assert.deepEqual(snapshot(folder.path), before);
  },
);

storeTest('a store open for reading follows a writer beside it', async (folder) => {
  const writer = await folder.open();
  const reader = await folder.open({ mode: 'read-only', threads: { count: 1 } });
  for (const bytes of [small, large]) {
    const { id } = await writer.put(bytes, { owner: 'x' });
    assert.equal(sha256((await reader.get(id))!), id);
  }
  assert.equal((await writer.gc({ graceMs: 0 })).deleted, 0);
  await reader.close();
  await writer.put(text('after'), { owner: 'x' });
});

storeTest('a creation that was interrupted anywhere is finished by the next open', async (folder) => {
  folder.leavesNoStore();
  const model = join(folder.side, 'a', 'b', 'model');
  await (await openStore(model, inline)).close();
  const folders = ['blobs', 'volumes', 'tmp', 'leases', 'quarantine'];
  // In the order they are made; the last state of each file may also be half of it.
  const files = ['roots.log', 'index.db', 'ballast', 'superblock.new'];
  for (let step = 0; step <= folders.length + 2 * files.length; step++) {
    const path = join(folder.side, `step-${step}`);
    mkdirSync(path);
    writeFileSync(join(path, 'creating.db'), step % 3 === 0 ? noise(0) : '');
    for (const name of folders.slice(0, step)) mkdirSync(join(path, name));
    files.slice(0, Math.ceil((step - folders.length) / 2)).forEach((name, i) => {
      const whole = readFileSync(join(model, name.replace('.new', '')));
      const torn = 2 * i + 1 === step - folders.length;
      if (step > folders.length)
        writeFileSync(join(path, name), torn ? whole.subarray(0, whole.length >> 1) : whole);
    });
    await assert.rejects(openStore(path, { ...inline, mode: 'open' }), withCode('not-a-store'));
    const store = await openStore(path, inline);
    const { id } = await store.put(small, { owner: 'x' });
    await store.close();
    assert.deepEqual(
      readdirSync(path).filter((name) => /creating|new|wal|shm/.test(name)),
      [],
    );
    const again = await openStore(path, { ...inline, mode: 'open' });
    assert.equal(sha256((await again.get(id))!), id);
    await again.close();
  }
});

storeTest('threads that open an absent folder at once all get the same store', async (folder) => {
  const stores = await Promise.all(Array.from({ length: 4 }, () => folder.open({ threads: { count: 1 } })));
  const ids = new Set(await Promise.all(stores.map(async (store) => (await store.stats()).storeId)));
  assert.equal(ids.size, 1);
  for (const [i, store] of stores.entries()) await store.put(noise(30 + i, i), { owner: 'x' });
  assert.equal((await stores[0]!.stats()).blobs, stores.length);
});

const isRoot = process.getuid?.() === 0;
/** Mounts a tmpfs, or says why it cannot be. */
function mountable(path: string, t: { skip(why: string): void }): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'holdfast-test', path], { stdio: 'pipe' });
    return true;
  } catch (error) {
    t.skip(`NOT TESTED: mount is not allowed here: ${String(error)}`);
    return false;
  }
}

storeTest(
  'on a read-only file system opening is refused at once, with a clear error',
  async (folder, t) => {
    folder.leavesNoStore();
    const disk = join(folder.side, 'disk');
    mkdirSync(disk);
    if (!mountable(disk, t)) return;
    try {
      const path = join(disk, 'store');
      const first = await openStore(path, inline);
      await first.put(small, { owner: 'x' });
      await first.close();
      execFileSync('mount', ['-o', 'remount,ro', disk]);
      for (const count of [0, 1]) {
        await assert.rejects(openStore(path, { threads: { count } }), withCode('forbidden'));
        await assert.rejects(openStore(join(disk, 'new'), { threads: { count } }), withCode('forbidden'));
        // SQLite wants to write beside a catalog even when it only reads: said, not hidden.
        await assert.rejects(
          openStore(path, { mode: 'read-only', threads: { count } }),
          withCode('unavailable'),
        );
      }
    } finally {
      execFileSync('umount', [disk]);
    }
  },
  { skip: isRoot ? false : 'NOT TESTED: only root can mount a file system' },
);

storeTest(
  'a folder that may not be written is refused with forbidden',
  async (folder) => {
    await filled(folder);
    chmodSync(folder.path, 0o555);
    chmodSync(folder.at('leases'), 0o555);
    try {
      await assert.rejects(openStore(folder.path, inline), withCode('forbidden'));
    } finally {
      chmodSync(folder.path, 0o755);
      chmodSync(folder.at('leases'), 0o755);
    }
  },
  { skip: isRoot ? 'NOT TESTED: root may write everywhere' : false },
);

storeTest('what says that a store is being made is durable before anything else is there', async (folder) => {
  const below = nodeHost({ inline: true });
  const seen: string[][] = [];
  const files: Host['files'] = {
    ...below.files,
    syncFolder(path) {
      if (path === folder.path) seen.push(readdirSync(path));
      below.files.syncFolder(path);
    },
  };
  const host: Host = { ...below, files, threads: inlineThreads(() => host) };
  await (await folder.open({ host })).close();
  assert.deepEqual(seen[0], ['creating.db']);
});
