/** Target of the command line's addresses: ROOT, ROOT:PATH, ids, and whatever else people type. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Store, StoreError, openStore } from '../../engine/index.ts';
import { isId, parseId, resolveAddress } from '../../src/cli/address.ts';
import { UsageError } from '../../src/cli/exit.ts';
import { importPaths } from '../../src/snapshot/import.ts';
import { Finding, type Target, promise, unexpected } from '../target.ts';

let store: Store | undefined;
let snapshot = '';
let file = '';
const deep = 'folder/inner/deep: with colon.txt';
const unknown = '0123456789abcdef'.repeat(4);

/** A small snapshot under two roots, one of whose names is awkward. */
async function setUp(): Promise<() => Promise<void>> {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-fuzz-address-'));
  const top = join(base, 'top');
  mkdirSync(join(top, 'folder', 'inner'), { recursive: true });
  writeFileSync(join(top, 'file.txt'), 'one');
  writeFileSync(join(top, deep), 'two');
  store = await openStore(join(base, 'store'), { threads: { count: 0 }, durability: 'relaxed' });
  snapshot = (await importPaths(store, [top], { root: 'main' })).root;
  file = (await store.put(new TextEncoder().encode('one'))).id;
  await store.roots.set('a root, ä', snapshot);
  return async () => {
    await store?.close();
    store = undefined;
    rmSync(base, { recursive: true, force: true });
  };
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export const address: Target = {
  name: 'address',
  setUp,
  valid: (random) => {
    const root = random.pick(['main', 'a root, ä', snapshot]);
    const path = random.pick([
      '',
      ':',
      ':top',
      ':/top/',
      ':top/file.txt',
      ':./top//folder/.',
      `:top/${deep}`,
    ]);
    return new TextEncoder().encode(root + path);
  },
  near: (random) => {
    const root = random.pick([
      '',
      'nobody',
      file,
      unknown,
      snapshot.toUpperCase(),
      'main\0',
      'x'.repeat(2000),
    ]);
    const path = random.pick([
      '',
      ':',
      ':top',
      ':top/../top',
      ':top/file.txt/x',
      ':top/\0',
      `:${'a/'.repeat(3000)}`,
    ]);
    return new TextEncoder().encode(root + path);
  },
  check: async (bytes) => {
    const text = decoder.decode(bytes);
    checkId(text);
    try {
      const found = await resolveAddress(store!, text);
      promise(['root', 'folder', 'file', 'link'].includes(found.type), 'found something of no type');
      if (found.type !== 'link') promise(isId(found.id), 'found something without an id');
      const path = text.includes(':') ? text.slice(text.indexOf(':') + 1) : '';
      promise(
        found.type !== 'root' || path.split('/').every((part) => part === '' || part === '.'),
        'a path led to the root',
      );
      return 'accepted';
    } catch (error) {
      if (error instanceof Finding) throw error;
      if (error instanceof UsageError) return 'refused';
      // `corrupt` is for damage; here nothing is damaged, so nobody is to be told so.
      if (StoreError.is(error) && ['invalid-argument', 'not-found'].includes(error.code)) return 'refused';
      throw unexpected(error);
    }
  },
};

function checkId(text: string): void {
  try {
    const id = parseId(text);
    promise(id === text && /^[0-9a-f]{64}$/.test(id), 'took something for an id');
  } catch (error) {
    if (!(error instanceof UsageError)) throw unexpected(error);
  }
}
