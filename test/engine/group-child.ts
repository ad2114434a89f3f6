// A process that moves everything in a store to and fro between its volumes, and puts meanwhile, until it is killed.
import { type BlobId, type Store, StoreError, openStore } from '../../engine/index.ts';
import { noise, smallParameters } from './store-folder.ts';

/** What a child tells its parent: it has begun to move, or a put was acknowledged. */
export type MoverReport = { readonly moving: string } | { readonly put: BlobId };

const tell = (report: MoverReport): void => void process.send!(report);

/** Whatever the last one was doing when it died: each step finds what there is now, and moves it on. */
async function steps(store: Store, round: number): Promise<void> {
  const list = await store.volumes.list();
  const disk = list.find(({ kind, id }) => kind === 'directory' && id !== 'blobs')!;
  const packs = list.find(({ kind }) => kind === 'folder')!;
  const [from, to] = round % 2 === 0 ? ['blobs', disk.id] : [disk.id, 'blobs'];
  tell({ moving: `${from} to ${to}` });
  if (list.find(({ id }) => id === to)!.state === 'open') await store.volumes.move(from, to);
  const away = list.filter(
    ({ kind, folder }) => kind === 'sqlite' && (folder === undefined) === (round % 2 === 0),
  );
  for (const { id } of away) {
    tell({ moving: id });
    await store.volumes.move(id, round % 2 === 0 ? packs.id : 'volumes');
  }
  tell({ moving: 'compact' });
  await store.compact();
}

const [path, seed] = process.argv.slice(2);
const store = await openStore(path!, { threads: { count: 2 } });

const mover = (async () => {
  for (let round = Number(seed); ; round++) await steps(store, round);
})();
const putter = (async () => {
  for (let i = 0; ; i++) {
    const size = i % 5 === 0 ? smallParameters.smallMax + 1 + i : 500 + i;
    const { id } = await store.put(noise(size, Number(seed) * 100_000 + i), { owner: 'x' });
    tell({ put: id });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
})();
await Promise.all([mover, putter]).catch((error: unknown) => {
  process.stderr.write(`${String((error as Error).stack)} ${StoreError.is(error) ? error.code : ''}\n`);
  process.exit(1);
});
