/** `holdfast diff DIR A B`: what differs between two snapshots, or two folders of snapshots. */
import { type SnapshotEntry, type Store, type TreeChange, diffTrees } from '../index.ts';
import { resolveAddress } from './address.ts';
import { UsageError, exitCodes } from './exit.ts';
import { showBytes, showCount, showName } from './units.ts';
import { type Context, type Verb, withReadableStore } from './verb.ts';

const marks = { added: '+', removed: '-', changed: '~', facts: ' ' } as const;

export const diff: Verb = {
  define: (program) =>
    program
      .command('diff')
      .description('list what differs between two snapshots: + added, - removed, ~ changed')
      .argument('<dir>', 'the store')
      .argument('<a>', 'ROOT or ROOT:PATH, before; a root by name or id')
      .argument('<b>', 'likewise, after')
      .option('--facts', 'also list what only has another mode or modification time'),
  async run(context, [directory, a, b], { facts }) {
    await withReadableStore(directory!, context, async (store) => {
      const [before, after] = [await folderOf(store, a!), await folderOf(store, b!)];
      await list(context, diffTrees(store, before, after, { signal: context.signal }), facts === true);
    });
    return exitCodes.fine;
  },
};

async function folderOf(store: Store, address: string): Promise<string> {
  const found = await resolveAddress(store, address);
  if (found.type === 'root' || found.type === 'folder') return found.id;
  throw new UsageError(`${JSON.stringify(address)} is no folder`);
}

async function list(
  { output }: Context,
  changes: AsyncIterable<TreeChange>,
  withFacts: boolean,
): Promise<void> {
  const counts = { added: 0, removed: 0, changed: 0, facts: 0 };
  const told: object[] = [];
  let addedBytes = 0;
  for await (const one of changes) {
    counts[one.change]++;
    const before = one.change === 'added' ? undefined : one.before;
    const after = one.change === 'removed' ? undefined : one.after;
    if (one.change !== 'facts') addedBytes += sizeOf(after) ?? 0;
    if (one.change === 'facts' && !withFacts) continue;
    if (output.json) told.push(forPrograms(one, before, after));
    await output.line(forPeople(one, before, after));
  }
  const { added, removed, changed, facts } = counts;
  output.note(
    `${showCount(added, 'entry', 'entries')} added, ${removed} removed, ${changed} changed (${showBytes(addedBytes)} new or changed); ${facts} with another mode or time only`,
  );
  await output.result({ changes: told, ...counts, bytes: addedBytes });
}

function forPeople(
  { change, path }: TreeChange,
  before: SnapshotEntry | undefined,
  after: SnapshotEntry | undefined,
): string {
  const sizes = [sizeOf(before), sizeOf(after)].filter((size) => size !== undefined);
  const folder = (after ?? before)!.type === 'folder' ? '/' : '';
  return `${marks[change]} ${sizes.join(' -> ').padStart(12)}  ${showName(path)}${folder}`;
}

function forPrograms(
  { change, path }: TreeChange,
  before: SnapshotEntry | undefined,
  after: SnapshotEntry | undefined,
): object {
  const side = (entry: SnapshotEntry | undefined): object | undefined => {
    if (entry === undefined) return undefined;
    const { type, mode, mtimeNs } = entry;
    const rest = type === 'link' ? { target: entry.target } : { id: entry.id };
    return {
      type,
      mode,
      mtimeNs: mtimeNs.toString(),
      ...rest,
      ...(type === 'file' ? { size: entry.size } : {}),
    };
  };
  return { change, path, before: side(before), after: side(after) };
}

function sizeOf(entry: SnapshotEntry | undefined): number | undefined {
  return entry?.type === 'file' ? entry.size : undefined;
}
