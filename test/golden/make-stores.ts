/** `node test/golden/make-stores.ts` makes the golden stores anew; only when the format has changed. No test runs it. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Link, type Store, openStore } from '../../engine/index.ts';
import { formatVersion } from '../../engine/codec/superblock.ts';
import { text } from '../engine/store-folder.ts';
import { type Manifest, contents, goldenFolder, optionsOf, secrets, shapes } from './recipe.ts';

const owners = ['ada', 'böb'];

async function fill(store: Store, encrypted: boolean): Promise<Manifest> {
  const held: { owner: string; id: string }[] = [];
  const links: Link[] = [];
  for (const [i, [name, content]] of Object.entries(contents).entries()) {
    const { id } = await store.put(content);
    links.push({ kind: 'raw', id });
    if (name === 'nobody holds it') continue;
    const owner = owners[i % 2]!;
    await store.retain(id, owner);
    held.push({ owner, id });
    // So that some lie under the first epoch, and some under the second.
    if (encrypted && name === 'words') await store.keys.rotate();
  }
  const inner = await store.put(text('an inner node'), { links: links.slice(0, 3) });
  const outer = await store.put(text('an outer node'), { links: [{ kind: 'node', id: inner.id }, links[5]!] });
  await store.roots.set('main', inner.id);
  await store.roots.set('main', outer.id);
  await store.roots.set('gone', inner.id);
  await store.roots.delete('gone');
  await store.roots.set('ein Wurzelname, ä', links[1]!.id);
  const once = await store.put(text('held, and let go of'), { owner: 'ada' });
  await store.release(once.id, 'ada');
  await store.sideTable('golden').set([['key', text('value')]]);
  const blobs: Manifest['blobs'][number][] = [];
  for await (const { id, kind, size, references } of store.list()) blobs.push({ id, kind, size, references });
  return {
    format: formatVersion,
    blobs: blobs.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    roots: (await store.roots.list()).map(({ name, id }) => ({ name, id })),
    owners: held,
    side: [{ key: 'key', value: 'value' }],
    log: (await store.roots.log()).length,
  };
}

async function make(shape: string): Promise<void> {
  const folder = join(goldenFolder, shape);
  const store = await openStore(folder, optionsOf(shape));
  const encrypted = shape === 'encrypted';
  if (encrypted) await store.keys.add(secrets[1]!);
  const manifest = await fill(store, encrypted);
  await store.close();
  writeFileSync(join(goldenFolder, `${shape}.json`), `${JSON.stringify(manifest, null, 2)}\n`);
  // What every opener makes anew.
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (/ballast$|-journal$|-wal$|-shm$/.test(path)) rmSync(join(folder, path));
}

rmSync(goldenFolder, { recursive: true, force: true });
mkdirSync(goldenFolder);
for (const shape of Object.keys(shapes)) await make(shape);
