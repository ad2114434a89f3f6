// A process that empties volumes of a store, removes them and takes them back, and puts meanwhile, until it is killed.
import { join } from 'node:path';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import { type Random, seededBytes, seededRandom } from './random.ts';

/** What it tells: a step of moving begins or has ended, or a put was acknowledged. */
export type MoverReport = { readonly begins: string } | { readonly ends: string } | { readonly put: BlobId };

const tell = (report: MoverReport): void => void process.send!(report);

const [path, side, seedText, copiesText] = process.argv.slice(2);
const random: Random = seededRandom(Number(seedText), 7);
const copies = Number(copiesText);
const store: Store = await openStore(path!, { threads: { count: 2 } });

/** Members beside the store's own; taken back where a reduce has removed them. */
async function extend(): Promise<{ disk: string; packs: string }> {
  const wanted = copies === 1 ? [''] : ['', '-2'];
  for (const suffix of wanted) {
    for (const kind of ['directory', 'sqlite'] as const) {
      const at = join(side!, `${kind}${suffix}`);
      const there = (await store.volumes.list()).some((volume) => volume.path === at);
      if (!there) await store.volumes.extend(at, { kind, allocation: 'striped' });
    }
  }
  const list = await store.volumes.list();
  const idOf = (name: string): string => list.find((volume) => volume.path === join(side!, name))!.id;
  return { disk: idOf('directory'), packs: idOf('sqlite') };
}

async function step(name: string, work: () => Promise<unknown>): Promise<void> {
  tell({ begins: name });
  await work();
  tell({ ends: name });
}

/** One of all that moves, by turns as the seed says. */
async function move(): Promise<void> {
  const { disk, packs } = await extend();
  const { volumes } = store;
  const list = await volumes.list();
  const open = new Set(list.filter(({ state }) => state === 'open').map(({ id }) => id));
  const sealed = list.filter(({ kind }) => kind === 'sqlite');
  switch (random.below(copies === 1 ? 7 : 5)) {
    case 0:
      return step('reduce directory', () => volumes.reduce(disk));
    case 1:
      return step('reduce folder', () => volumes.reduce(packs));
    case 2:
      return step('move volume', () => volumes.move(random.pick(sealed).id));
    case 3:
      return step('compact', () => store.compact());
    case 4:
      return step('rebalance', () => volumes.rebalance());
    case 5:
      if (!open.has(disk)) return;
      return step('move out', () => volumes.move('blobs', disk));
    default:
      if (!open.has('blobs')) return;
      return step('move back', () => volumes.move(disk, 'blobs'));
  }
}

const mover = (async () => {
  // What the last one was doing is ended first.
  await step('compact', () => store.compact());
  for (;;) await move();
})();
const putter = (async () => {
  for (let i = 0; ; i++) {
    const size = random.chance(0.25) ? 16_385 + random.below(90_000) : 300 + random.below(9000);
    const { id } = await store.put(seededBytes(Number(seedText) * 100_000 + i, size), { owner: 'x' });
    tell({ put: id });
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
})();
await Promise.all([mover, putter]).catch((error: unknown) => {
  process.stderr.write(`${String((error as Error).stack)}\n`);
  process.exit(1);
});
