/** `holdfast ls DIR [ROOT[:PATH]]`: lists the roots of a store, or a folder of a snapshot. */
import { type SnapshotEntry, type Store, listFolder } from '../index.ts';
import { resolveAddress } from './address.ts';
import { exitCodes } from './exit.ts';
import type { Output } from './output.ts';
import { showMode, showTime } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const ls: Verb = {
  define: (program) =>
    program
      .command('ls')
      .description('list the roots, or a folder of a snapshot')
      .argument('<dir>', 'the store')
      .argument('[address]', 'ROOT or ROOT:PATH'),
  async run(context, [directory, address]) {
    await withReadableStore(
      directory!,
      context,
      (store) =>
        address === undefined ? listRoots(store, context.output) : listAddress(store, address, context),
      brief,
    );
    return exitCodes.fine;
  },
};

async function listRoots(store: Store, output: Output): Promise<void> {
  const roots = await store.roots.list();
  for (const { name, id, changedMs } of roots)
    await output.line(`${id}  ${showTime(changedMs)}  ${printableName(name)}`);
  await output.result({ roots });
}

async function listAddress(
  store: Store,
  address: string,
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<void> {
  const found = await resolveAddress(store, address);
  const entries: object[] = [];
  const list = found.type === 'root' || found.type === 'folder' ? listFolder(store, found.id) : [found];
  for await (const entry of list) {
    signal.throwIfAborted();
    if (output.json) entries.push(forPrograms(entry));
    await output.line(forPeople(entry));
  }
  await output.result({ entries });
}

function forPeople(entry: SnapshotEntry): string {
  const letter = { file: '-', folder: 'd', link: 'l' }[entry.type];
  const size = entry.type === 'file' ? String(entry.size) : '-';
  const tail =
    entry.type === 'link' ? ` -> ${printableName(entry.target)}` : entry.type === 'folder' ? '/' : '';
  const time = showTime(Number(entry.mtimeNs / 1_000_000n));
  return `${letter}${showMode(entry.mode)} ${size.padStart(12)}  ${time}  ${printableName(entry.name)}${tail}`;
}

function forPrograms(entry: SnapshotEntry): object {
  const { name, type, mode, mtimeNs } = entry;
  const common = { name, type, mode, mtimeNs: mtimeNs.toString() };
  if (entry.type === 'file') return { ...common, id: entry.id, size: entry.size };
  return entry.type === 'folder' ? { ...common, id: entry.id } : { ...common, target: entry.target };
}

/** A name with an escape sequence in it must not reach the terminal. */
export function printableName(name: string): string {
  return name.replace(
    /[\u0000-\u001f\u007f-\u009f]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
