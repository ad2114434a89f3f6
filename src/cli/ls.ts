/** `holdfast ls DIR [ROOT[:PATH]]`: lists the roots of a store, or a folder of a snapshot. */
import { type SnapshotEntry, type Store, listFolder } from '../index.ts';
import { resolveAddress } from './address.ts';
import { UsageError, exitCodes } from './exit.ts';
import type { Output } from './output.ts';
import { showCount, showMode, showName, showTime } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const ls: Verb = {
  define: (program) =>
    program
      .command('ls')
      .description('list the roots, or a folder of a snapshot')
      .argument('<dir>', 'the store')
      .argument('[address]', 'ROOT or ROOT:PATH')
      .option('--sealed', 'an encrypted store: all roots by what they are found by, without a key too'),
  async run(surrounding, [directory, address], { sealed }) {
    if (sealed === true && address !== undefined)
      throw new UsageError('--sealed lists the roots, not what is below one');
    const context = sealed === true ? { ...surrounding, keyless: true } : surrounding;
    await withReadableStore(
      directory!,
      context,
      async (store) => {
        if (sealed === true) return await listSealed(store, context.output);
        if (address !== undefined) return await listAddress(store, address, context);
        return await listRoots(store, context.output);
      },
      brief,
    );
    return exitCodes.fine;
  },
};

async function listRoots(store: Store, output: Output): Promise<void> {
  const roots = await store.roots.list();
  for (const { name, id, changedMs } of roots)
    await output.line(`${id}  ${showTime(changedMs)}  ${showName(name)}`);
  if (store.parameters.encryption !== null) {
    const unopened = (await store.sealed.roots()).filter((root) => root.unopened !== undefined).length;
    if (unopened > 0)
      output.warn(`${showCount(unopened, 'root')} without a name that opens: see ls --sealed`);
  }
  await output.result({ roots });
}

async function listSealed(store: Store, output: Output): Promise<void> {
  const roots = await store.sealed.roots();
  for (const { key, locator, unopened } of roots)
    await output.line(
      `${locator}  ${key}${unopened === undefined ? '' : `  (its name does not open: ${unopened})`}`,
    );
  await output.result({ roots: roots.map(({ key, locator, unopened }) => ({ key, locator, unopened })) });
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
  const tail = entry.type === 'link' ? ` -> ${showName(entry.target)}` : entry.type === 'folder' ? '/' : '';
  const time = showTime(Number(entry.mtimeNs / 1_000_000n));
  return `${letter}${showMode(entry.mode)} ${size.padStart(12)}  ${time}  ${showName(entry.name)}${tail}`;
}

function forPrograms(entry: SnapshotEntry): object {
  const { name, type, mode, mtimeNs } = entry;
  const common = { name, type, mode, mtimeNs: mtimeNs.toString() };
  if (entry.type === 'file') return { ...common, id: entry.id, size: entry.size };
  return entry.type === 'folder' ? { ...common, id: entry.id } : { ...common, target: entry.target };
}
