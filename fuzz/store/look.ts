/** Compares all that a store says of itself with the model: the list, counts of references, roots, their log, totals. */
import type { Store } from '../../engine/index.ts';
import { promise } from '../target.ts';
import type { Model } from './model.ts';
import type { Blob } from './universe.ts';

/** What a store should be. */
interface Wanted {
  readonly model: Model;
  readonly blobs: readonly Blob[];
  /** Then lists are in the order of names on disk, and sizes in totals are those of sealed objects. */
  readonly encrypted: boolean;
}

export async function compareAll(store: Store, wanted: Wanted): Promise<void> {
  const { model, blobs, encrypted } = wanted;
  await compareList(store, wanted);
  await compareRoots(store, model, blobs);
  await compareLog(store, model, blobs);
  const { blobs: count, nodes, bytes, unreferenced, suspect, roots, openHandles } = await store.stats();
  const all = model.all();
  const should = {
    blobs: all.length,
    nodes: all.filter((blob) => model.get(blob)!.kind === 'node').length,
    bytes: encrypted ? bytes : all.reduce((sum, blob) => sum + blobs[blob]!.bytes.length, 0),
    unreferenced: all.filter((blob) => model.references(blob) === 0).length,
    suspect: model.damagedBlobs().length,
    roots: model.roots.size,
    openHandles: 0,
  };
  const said = { blobs: count, nodes, bytes, unreferenced, suspect, roots, openHandles };
  promise(
    JSON.stringify(said) === JSON.stringify(should),
    `stats say ${JSON.stringify(said)}, and should say ${JSON.stringify(should)}`,
  );
}

async function compareList(store: Store, { model, blobs, encrypted }: Wanted): Promise<void> {
  const byId = new Map(model.all().map((blob) => [blobs[blob]!.id, blob]));
  const seen: string[] = [];
  for await (const stat of store.list()) {
    const { id, kind, size, references, suspect } = stat;
    seen.push(id);
    const blob = byId.get(id);
    promise(blob !== undefined, 'the list holds a blob that should not be there');
    const standing = model.get(blob!)!;
    const said = JSON.stringify([kind, size, references, suspect]);
    const should = JSON.stringify([
      standing.kind,
      blobs[blob!]!.bytes.length,
      model.references(blob!),
      standing.damaged,
    ]);
    promise(said === should, `kind, size, references and suspect are ${said}, and should be ${should}`);
  }
  promise(new Set(seen).size === seen.length, 'the list has a blob twice');
  promise(seen.length === byId.size, `the list holds ${seen.length} blobs of ${byId.size}`);
  promise(encrypted || seen.every((id, i) => i === 0 || seen[i - 1]! < id), 'the list is not in order');
  const all = blobs.map(({ id }) => id);
  const here = await store.hasMany(all);
  promise(
    all.every((id) => here.has(id) === byId.has(id)),
    'hasMany says otherwise',
  );
}

async function compareRoots(store: Store, model: Model, blobs: readonly Blob[]): Promise<void> {
  const said = (await store.roots.list()).map(({ name, id }) => `${name} ${id}`);
  const should = [...model.roots].map(([name, blob]) => `${name} ${blobs[blob]!.id}`);
  promise(
    said.toSorted().join('\n') === should.toSorted().join('\n'),
    'the roots are not what they should be',
  );
}

/** The log, done again from its beginning, gives what is held now. */
async function compareLog(store: Store, model: Model, blobs: readonly Blob[]): Promise<void> {
  const roots = new Map<string, string>();
  const held = new Set<string>();
  let last = 0;
  for (;;) {
    const page = await store.roots.log({ after: last });
    if (page.length === 0) break;
    for (const { sequence, change, name, id } of page) {
      promise(sequence === last + 1, 'the log has a gap');
      last = sequence;
      if (change === 'set') roots.set(name, id!);
      else if (change === 'delete') roots.delete(name);
      else if (change === 'retain') held.add(`${name} ${id!}`);
      else held.delete(`${name} ${id!}`);
    }
  }
  const should = model
    .all()
    .flatMap((blob) => [...model.get(blob)!.owners].map((owner) => `${owner} ${blobs[blob]!.id}`));
  promise([...held].sort().join('\n') === should.sort().join('\n'), 'the log tells of other owners');
  const now = [...model.roots].map(([name, blob]) => `${name} ${blobs[blob]!.id}`);
  promise(
    [...roots]
      .map(([name, id]) => `${name} ${id}`)
      .sort()
      .join('\n') === now.sort().join('\n'),
    'the log tells of other roots',
  );
}
