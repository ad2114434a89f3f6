/** Files as sources: their facts, a file that changes while it is read, and everything that cannot be read. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Host, nodeHost } from '../../engine/index.ts';
import { type StoreFolder, noise, sha256, smallParameters, storeTest, withCode } from './store-folder.ts';

const { smallMax } = smallParameters;

storeTest('a put by path tells the facts of the file it read', async (folder) => {
  const store = await folder.open();
  for (const size of [0, 7, smallMax + 1]) {
    const path = folder.file(`facts-${size}`, noise(size));
    chmodSync(path, 0o640);
    const { source } = await store.put({ path });
    const facts = statSync(path, { bigint: true });
    assert.deepEqual(source, {
      size,
      mode: 0o640,
      mtimeNs: facts.mtimeNs,
      ctimeNs: facts.ctimeNs,
      dev: facts.dev,
      ino: facts.ino,
    });
  }
});

storeTest('hard links, links and unusual names lead to content like any other', async (folder) => {
  const store = await folder.open();
  const bytes = noise(smallMax + 1);
  const path = folder.file('first', bytes);
  linkSync(path, join(folder.side, 'hard'));
  symlinkSync(path, join(folder.side, 'soft'));
  folder.file('naïve name \n with "everything"', bytes);
  for (const name of ['first', 'hard', 'soft', 'naïve name \n with "everything"']) {
    assert.equal((await store.put({ path: join(folder.side, name) })).id, sha256(bytes));
  }
  assert.equal((await store.stats()).blobs, 1);
});

storeTest('a source that is only readable is stored and can be put again', async (folder) => {
  const store = await folder.open();
  const path = folder.file('locked', noise(smallMax + 5));
  chmodSync(path, 0o444);
  await store.put({ path }, { owner: 'x' });
  assert.equal((await store.put({ path })).deduplicated, true);
});

storeTest(
  'what is not there, or not a file, is refused with the path, and the put beside it is not disturbed',
  async (folder) => {
    const store = await folder.open();
    mkdirSync(join(folder.side, 'folder'));
    execFileSync('mkfifo', [join(folder.side, 'fifo')]);
    symlinkSync('/nowhere/at/all', join(folder.side, 'dangling'));
    const good = folder.file('good', noise(10));
    const bad: [path: string, code: string][] = [
      [join(folder.side, 'missing'), 'not-found'],
      [join(folder.side, 'dangling'), 'not-found'],
      [join(folder.side, 'folder'), 'invalid-argument'],
      [join(folder.side, 'fifo'), 'invalid-argument'],
      ['/dev/null', 'invalid-argument'],
      ['/dev/zero', 'invalid-argument'],
      [join(folder.side, 'x'.repeat(300)), 'invalid-argument'],
      [`${folder.side}/${'abc/'.repeat(1100)}x`, 'invalid-argument'],
      [join(good, 'below-a-file'), 'not-found'],
      [`${folder.side}/nul\0name`, 'invalid-argument'],
    ];
    const results = await Promise.allSettled([
      ...bad.map(([path]) => store.put({ path })),
      store.put({ path: good }, { owner: 'x' }),
    ]);
    assert.equal(results.pop()!.status, 'fulfilled');
    results.forEach((result, i) => {
      assert.ok(result.status === 'rejected', bad[i]![0].slice(0, 80));
      withCode(bad[i]![1])(result.reason);
    });
    assert.equal((await store.stats()).blobs, 1);
  },
);

storeTest(
  'a file without permission is forbidden',
  async (folder) => {
    const store = await folder.open();
    const path = folder.file('secret', noise(10));
    chmodSync(path, 0);
    await assert.rejects(store.put({ path }), withCode('forbidden'));
  },
  { skip: process.getuid?.() === 0 ? 'root may read everything' : false },
);

/** A host on which something happens to a file as soon as its first bytes were read. */
function hostThatMeddles(path: string, meddle: () => void): Host {
  const host = nodeHost({ inline: true });
  const { files } = host;
  let done = false;
  const open: typeof files.open = (name, mode, permissions) => {
    const file = files.open(name, mode, permissions);
    if (name !== path) return file;
    return new Proxy(file, {
      get(target, key) {
        const value = Reflect.get(target, key, target) as unknown;
        if (typeof value !== 'function') return value;
        if (key !== 'read') return value.bind(target) as unknown;
        return (...args: [Uint8Array, number]) => {
          const count = target.read(...args);
          if (!done) meddle();
          done = true;
          return count;
        };
      },
    });
  };
  // No clone: the copy would not see the change, which is what a clone is for.
  return Object.assign(host, { files: { ...files, open, clone: () => false } });
}

const meddling: Record<string, (path: string, size: number) => void> = {
  grows: (path) => appendFileSync(path, 'more'),
  shrinks: (path, size) => execFileSync('truncate', ['-s', String(Math.floor(size / 2)), path]),
  'is rewritten': (path, size) => writeFileSync(path, noise(size, 99)),
};

for (const [what, meddle] of Object.entries(meddling)) {
  for (const size of [1000, 4 * 1024 * 1024]) {
    storeTest(
      `a source of ${size} bytes that ${what} while it is read is refused, and leaves nothing`,
      async (folder: StoreFolder) => {
        const path = folder.file('changing', noise(size));
        const store = await folder.open({ host: hostThatMeddles(path, () => meddle(path, size)) });
        await assert.rejects(store.put({ path }, { owner: 'x' }), withCode('source-changed'));
        assert.deepEqual([(await store.stats()).blobs, folder.files('tmp')], [0, []]);
        // Quiet again, it is taken.
        await store.put({ path }, { owner: 'x' });
      },
    );
  }
}
