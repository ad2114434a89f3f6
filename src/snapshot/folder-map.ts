/** Turns an open folder whose files are stored into its map, and stores that: leaves at once, inner nodes after their children. */
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
  for (let i = 0, at = 0; i < folder.listing.count; i++) {
    const wait = run.rest();
    if (wait !== undefined) await wait;
    const { bytes, next } = folder.nameAt(at);
    at = next;
    if (folder.kind(i) !== kindLink) continue;
    reading.start();
    await run.puts.start(() => read(i, folder.pathOf(utf8(bytes)!)));
  }
  await reading.all();
}

/** Builds and stores the nodes of a folder's map that it had not before; resolves with its root, when all are stored. */
export async function putMap(run: ImportRun, folder: OpenFolder): Promise<BuiltNode> {
  const builder = new MapBuilder(nodeProvider);
  const before = await MapBefore.read(run.store, folder.cached);
  const writing = new Latch();
  const put = async (nodes: readonly BuiltNode[]): Promise<void> => {
    for (const node of nodes) if (before?.nodes.has(node.id) !== true) await putNode(run, node, writing);
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
    const entry = folder.entry(i, bytes);
    i++;
    at = next;
    if (entry !== undefined) await put(builder.add(encodeEntry(entry, bytes)));
  }
  const rest = builder.finish();
  await put(rest);
  await writing.all();
  run.check();
  return rest.at(-1)!;
}

async function putNode(run: ImportRun, node: BuiltNode, writing: Latch): Promise<void> {
  // A store takes a node only when all it links is there.
  if (node.level > 0) await writing.all();
  const put = async (): Promise<void> => {
    try {
      run.check();
      await run.store.put(node.bytes, { kind: 'node', expectId: node.id });
    } catch (error) {
      run.fail(error);
    } finally {
      writing.end();
    }
  };
  writing.start();
  await run.puts.start(put);
}
