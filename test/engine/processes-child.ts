// One process of several that share a store: does what its arguments say, tells its parent what was acknowledged.
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type BlobId, openStore } from '../../engine/index.ts';
import { noise, smallParameters } from './store-folder.ts';

/** What a child tells its parent. */
export interface ChildReport {
  readonly state: 'ready' | 'done';
  readonly ids?: readonly BlobId[];
  /** Collections that ran, and what they deleted. */
  readonly rounds?: number;
  readonly deleted?: number;
}

/** Content number `i` of a writer: mostly small, every eighth a file. */
export function contentOf(writer: number, i: number): Uint8Array {
  const size = i % 8 === 7 ? smallParameters.smallMax + 1 + i : 1 + ((i * 37) % 3000);
  return noise(size, 1_000_000 * (writer + 1) + i);
}

async function tell(report: ChildReport): Promise<void> {
  await new Promise((resolve) => process.send!(report, resolve));
}

const verbs: Record<string, (path: string, ...rest: string[]) => Promise<void>> = {
  /** Opens and puts one blob. */
  async open(path) {
    const store = await openStore(path, { threads: { count: 0 }, parameters: smallParameters });
    const { id } = await store.put(noise(100, process.pid), { owner: 'opener' });
    await store.close();
    await tell({ state: 'done', ids: [id] });
  },

  /** Puts many blobs with an owner, several at once, and some with none. */
  async put(path, writer, count) {
    await using store = await openStore(path, { threads: { count: 1 } });
    await tell({ state: 'ready' });
    const ids: BlobId[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let i = next++; i < Number(count); i = next++) {
        const { id } = await store.put(contentOf(Number(writer), i), { owner: `writer ${writer}` });
        ids.push(id);
        if (i % 10 === 0) await store.put(noise(500, 7_000_000 + i));
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
    await tell({ state: 'done', ids });
  },

  /** Collects without a grace, again and again, until told to stop. */
  async collect(path) {
    await using store = await openStore(path, { threads: { count: 0 } });
    const stop = new AbortController();
    process.once('message', () => stop.abort());
    await tell({ state: 'ready' });
    let rounds = 0;
    let deleted = 0;
    while (!stop.signal.aborted) {
      deleted += (await store.gc({ graceMs: 0 })).deleted;
      rounds++;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await tell({ state: 'done', rounds, deleted });
    process.disconnect();
  },

  /** Puts without an owner inside a session, which ends when the parent says so. */
  async hold(path) {
    await using store = await openStore(path, { threads: { count: 0 } });
    const session = await store.session();
    const ids: BlobId[] = [];
    for (let i = 0; i < 8; i++) ids.push((await store.put(contentOf(9, i))).id);
    await tell({ state: 'ready', ids });
    await once(process, 'message');
    await session.end();
    await tell({ state: 'done' });
    await once(process, 'message');
    process.disconnect();
  },

  /** Leaves a store open, with real threads and nothing to do. */
  async idle(path) {
    const store = await openStore(path, { threads: { count: 2 } });
    await store.put(noise(40_000), { owner: 'idler' });
    await store.get((await store.put(noise(10), { owner: 'idler' })).id);
  },
};

const [verb, path, ...rest] = process.argv.slice(2);
if (process.argv[1] === fileURLToPath(import.meta.url)) await verbs[verb!]!(path!, ...rest);
