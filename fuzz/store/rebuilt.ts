/** A catalog that is lost and made again, in a random play. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Store, rebuildStore } from '../../engine/index.ts';
import { promise } from '../target.ts';
import type { Model } from './model.ts';
import { encryption } from './sealed.ts';
import type { Blob } from './universe.ts';

interface Played {
  readonly encrypted?: true;
  readonly threads: number;
  readonly open: () => Promise<Store>;
  readonly model: Model;
  readonly blobs: readonly Blob[];
}

/** Of a store that is closed and sound. Answers the store, opened, after a collection; the model follows. */
export async function rebuilt(directory: string, played: Played): Promise<Store> {
  const { model, blobs, encrypted, threads } = played;
  rmSync(join(directory, 'index.db'));
  const { lostBlobs, damagedCopies, missing, gap } = await rebuildStore(directory, {
    threads: { count: threads },
    ...(encrypted === true ? { encryption: { secret: encryption.secret } } : {}),
  });
  const said = JSON.stringify({ lostBlobs, damagedCopies, missing, gap });
  promise(
    said === JSON.stringify({ lostBlobs: 0, damagedCopies: 0, missing: [] }),
    `a rebuild of a sound store says ${said}`,
  );
  const store = await played.open();
  // The dead record of a node, put as bytes since, is a node again where all that it links to is here, be it dead.
  for (const blob of model.all())
    if (model.get(blob)!.kind === 'raw') await revive(store, { blob, model, blobs });
  const { recounted, badRows, adopted, damaged } = await store.scrub();
  promise(recounted + badRows + adopted + damaged.length === 0, 'a scrub corrects what a rebuild made');
  // What was collected came back, and goes again.
  const gone = model.collectable();
  const { blocked } = await store.gc({ graceMs: 0 });
  promise(blocked === undefined, `after a rebuild collection is blocked: ${blocked}`);
  model.drop(gone);
  return store;
}

async function revive(
  store: Store,
  { blob, model, blobs }: Pick<Played, 'model' | 'blobs'> & { readonly blob: number },
): Promise<void> {
  const { kind } = (await store.stat(blobs[blob]!.id))!;
  if (model.get(blob)?.kind === kind) return;
  model.put(blob, kind, undefined);
  const missing = kind === 'node' ? model.missing(blob) : [];
  for (const child of missing) await revive(store, { blob: child, model, blobs });
}
