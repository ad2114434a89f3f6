/** Steps of encrypted stores: looked at without keys, sealed anew. */
import { existsSync } from 'node:fs';
import { type EncryptionOptions, type Store, openStore } from '../../engine/index.ts';
import { promise } from '../target.ts';
import type { Model } from './model.ts';
import { type Blob, parameters } from './universe.ts';

export const encryption: EncryptionOptions = {
  secret: { kind: 'raw-key', key: new Uint8Array(32).fill(7) },
  padding: 'padme',
};

/** Without keys nothing is seen but damage, and nothing is changed by looking. The store is closed. */
export async function lookLocked(directory: string, model: Model, blobs: readonly Blob[]): Promise<void> {
  if (!existsSync(directory)) return;
  const store = await openStore(directory, { threads: { count: 0 }, parameters, durability: 'relaxed' });
  try {
    const { damaged, recounted, badRows, adopted, blobs: seen } = await store.scrub();
    const said = [damaged.length, recounted, badRows, adopted, seen].join();
    const should = [model.damagedBlobs().length, 0, 0, 0, model.all().length].join();
    promise(said === should, `a scrub without keys says ${said}, and should say ${should}`);
    await store.gc();
    let listed = 0;
    for await (const { id } of store.list()) {
      listed++;
      promise(!blobs.some((blob) => blob.id === id), 'an id is told without keys');
    }
    promise(listed === seen, `without keys ${listed} blobs are listed, of ${seen}`);
  } finally {
    await store.close();
  }
}

/** What is damaged is left to be healed; all else is of the newest epoch. */
export async function resealAll(store: Store, model: Model): Promise<void> {
  await store.keys.reseal();
  const { behind } = await store.keys.list();
  const damaged = model.damagedBlobs().length;
  promise(behind! <= damaged, `after a reseal ${behind} blobs are behind, of which ${damaged} are damaged`);
}
