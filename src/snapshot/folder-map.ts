/** Turns an open folder whose files are stored into its map, and puts that: children before parents, so that they share commits. */
import { nodeProvider } from '../../engine/index.ts';
import { type BuiltNode, MapBuilder } from '../../sync/tree/builder.ts';
import { encodeEntry } from './entry.ts';
import { kindLink } from './import-cache.ts';
import type { ImportRun } from './import-run.ts';
import { MapBefore } from './map-before.ts';
import { utf8 } from './names.ts';
import type { OpenFolder } from './open-folder.ts';
import { Latch } from './pacing.ts';
import { readTarget } from './source.ts';

/** Reads where the links of a folder point to; one that cannot be read is left out, and told. */
export async function readTargets(run: ImportRun, folder: OpenFolder): Promise<void> {
  const reading = new Latch();
  const read = async (index: number, path: string): Promise<void> => {
    try {
      folder.targets.set(index, await readTarget(run.store, path));
      if (!folder.same) run.report.links++;
    } catch (error) {
      run.report.fail(path, error);
      folder.exclude(index);
    } finally {
      reading.end();
    }
  };
  const { count } = folder.listing;
  let links = 0;
  for (let i = 0; i < count; i++) if (folder.kind(i) === kindLink) links++;
  for (let i = 0, at = 0; links > 0; i++) {
    const wait = run.rest();
    if (wait !== undefined) await wait;
    const { bytes, next } = folder.nameAt(at);
    at = next;
    if (folder.kind(i) !== kindLink) continue;
    links--;
    reading.start();
    await run.puts.start(() => read(i, folder.pathOf(utf8(bytes)!)));
  }
  await reading.all();
}

/** Builds the nodes of a folder's map and gives the run those that it had not before, children before parents; resolves with its root. */
export async function putMap(run: ImportRun, folder: OpenFolder): Promise<BuiltNode> {
  const builder = new MapBuilder(nodeProvider);
  const before = await MapBefore.read(run.store, folder.cached);
  const put = async (nodes: readonly BuiltNode[]): Promise<void> => {
    for (const node of nodes) if (before?.nodes.has(node.id) !== true) await run.putNode(node);
  };
  for (let i = 0, at = 0; i < folder.listing.count;) {
    const wait = run.rest();
    if (wait !== undefined) await wait;
    const kept = builder.atLeaf ? before?.leafAt(folder, i, at) : undefined;
    const taken = kept && builder.addLeaf(kept.leaf);
    if (taken !== undefined) {
      await put(taken);
      i = kept!.index;
      at = kept!.at;
      continue;
    }
    const { bytes, next } = folder.nameAt(at);
    const entry = folder.entry(i);
    const ended = before?.endedBy(folder.listing.names, at);
    i++;
    at = next;
    if (entry === undefined) continue;
    const built = builder.add(encodeEntry(entry, bytes), ended);
    if (built.length > 0) await put(built);
  }
  const rest = builder.finish();
  await put(rest);
  run.check();
  return rest.at(-1)!;
}
