/** Damage to files of a store that is open: which blob it hit. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../../engine/index.ts';
import { promise } from '../target.ts';
import type { Model } from './model.ts';
import type { Blob } from './universe.ts';

interface Spot {
  readonly blob: number;
  readonly at: number;
}

/** Turns a bit of a file, of the first blob from this one on that has a file and is not damaged. */
export async function damageFile(
  store: Store,
  { blob: from, at, model, blobs }: Spot & { readonly model: Model; readonly blobs: readonly Blob[] },
): Promise<string | undefined> {
  for (let i = 0; i < blobs.length; i++) {
    const blob = (from + i) % blobs.length;
    const { id, bytes } = blobs[blob]!;
    if (model.get(blob)?.damaged !== false) continue;
    const path = await store.pathOf(id);
    if (path === undefined) continue;
    const changed = bytes.slice();
    changed[at % changed.length]! ^= 1;
    writeFileSync(path, changed);
    return id;
  }
  return undefined;
}

/** Turns a bit of a file. Which blob it is of a scrub must tell; undefined where there is no file. */
export async function damageSealed(
  directory: string,
  store: Store,
  place: Spot,
): Promise<string | undefined> {
  const folder = join(directory, 'blobs');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.f'),
  );
  const file = files.sort()[place.blob % Math.max(1, files.length)];
  if (file === undefined) return undefined;
  const before = new Set((await store.scrub()).damaged.map(({ id }) => id));
  const bytes = readFileSync(join(folder, file));
  // Its first eight bytes stand at its end once more, and are not read.
  bytes[8 + (place.at % (bytes.length - 8))]! ^= 1;
  writeFileSync(join(folder, file), bytes);
  const found = (await store.scrub()).damaged.filter(({ id }) => !before.has(id));
  promise(found.length <= 1, `one file was damaged, and a scrub names ${found.length} blobs more`);
  promise(found.length === 1 || before.size > 0, 'damage of a file is not found');
  return found[0]?.id;
}
