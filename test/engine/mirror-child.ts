// A process that puts blobs into a mirrored store and changes how many copies are kept meanwhile, until it is killed.
import { type BlobId, type Store, StoreError, openStore } from '../../engine/index.ts';
import { noise, smallParameters } from './store-folder.ts';

/** What a child tells its parent: copies are being made or freed, or a put was acknowledged. */
export type MirrorReport = { readonly mirroring: number } | { readonly put: BlobId };

const tell = (report: MirrorReport): void => void process.send!(report);

const [path, seed] = process.argv.slice(2);
const store: Store = await openStore(path!, { threads: { count: 2 } });

const mirrorer = (async () => {
  for (let round = Number(seed); ; round++) {
    const copies = 2 + (round % 2);
    tell({ mirroring: copies });
    await store.volumes.mirror(copies);
  }
})();
const putter = (async () => {
  for (let i = 0; ; i++) {
    const size = i % 4 === 0 ? smallParameters.smallMax + 1 + 50 * i : 500 + i;
    const chunking = i % 23 === 7 ? ({ chunking: 'fastcdc' } as const) : {};
    const bytes = noise(i % 23 === 7 ? 300_000 : size, Number(seed) * 100_000 + i);
    const { id } = await store.put(bytes, { owner: 'x', ...chunking });
    tell({ put: id });
  }
})();
await Promise.all([mirrorer, putter]).catch((error: unknown) => {
  process.stderr.write(`${String((error as Error).stack)} ${StoreError.is(error) ? error.code : ''}\n`);
  process.exit(1);
});
