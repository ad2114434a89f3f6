/** Makes what cases only read or copy: stores and tables that already hold the data. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeHuge, settled, settledNow, smallFiles } from './data.ts';
import { loadNaive, loadSqliteTable } from './rival.ts';
import type { Place, PreparationName } from './workload.ts';

/** Makes `place.target`. Nothing is measured. */
export type Preparation = (place: Place) => Promise<void>;

export const preparations: Readonly<Record<PreparationName, Preparation>> = {
  /** The large file under the root `large`, the small ones under `small`, imported so that the cache may believe them. */
  async 'store-all'({ door, open, data, target }) {
    await settled(data);
    const store = await open(target);
    const { id } = await store.put({ path: data.large });
    await store.roots.set('large', id);
    await door.importPaths(store, [data.small], { root: 'small' });
    await store.close();
  },
  /** The two halves of the small files, each under a root of its own. */
  async 'store-halves'({ door, open, data, target }) {
    const store = await open(target);
    for (const half of ['a', 'b']) await door.importPaths(store, [join(data.small, half)], { root: half });
    await store.close();
  },
  /** The file of the memory case, as the snapshot `main` and by itself as `huge`. */
  async 'store-huge'({ door, open, data, scale, target }) {
    makeHuge(data, scale);
    const store = await open(target);
    const { id } = await store.put({ path: data.huge });
    await store.roots.set('huge', id);
    await door.importPaths(store, [data.huge], { root: 'main' });
    await store.close();
  },
  /** A copy of the small files in `files`, a store with them under the root `small`, and a replica of that store. */
  async replicated({ door, build, open, data, target }) {
    mkdirSync(target);
    execFileSync('cp', ['-a', data.small, join(target, 'files')]);
    const [directory, replica] = [join(target, 'store'), join(target, 'replica')];
    await (await open(replica)).close();
    const store = await open(directory);
    await settledNow();
    await door.importPaths(store, [join(target, 'files')], { root: 'small' });
    const child = ['--no-warnings', build.program, 'serve', replica, '--stdio'];
    await door.push(store, door.spawnTransport(process.execPath, child), { roots: ['small'] });
    await store.close();
  },
  /** The same for rsync. */
  rsynced({ data, target }) {
    mkdirSync(target);
    execFileSync('cp', ['-a', data.small, join(target, 'files')]);
    execFileSync('rsync', ['-a', join(target, 'files/'), join(target, 'replica')]);
    return Promise.resolve();
  },
  async 'table-small'({ data, target }) {
    const { openTable } = await loadSqliteTable();
    mkdirSync(target);
    const table = openTable(join(target, 'table.db'), { durable: false });
    table.putFiles(smallFiles(data));
    table.close();
  },
  async 'table-large'({ data, target }) {
    const { openTable } = await loadSqliteTable();
    mkdirSync(target);
    const table = openTable(join(target, 'table.db'), { durable: false });
    table.putChunks(data.large);
    table.close();
  },
  async 'naive-notes'({ data, target }) {
    const { takeNotes } = await loadNaive();
    mkdirSync(target);
    takeNotes(data.small, join(target, 'notes.json'));
  },
};
