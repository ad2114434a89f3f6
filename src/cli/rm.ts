/** `holdfast rm DIR ROOT`: drops a root; gc frees what nothing refers to any more. */
import { type Store, StoreError } from '../index.ts';
import { exitCodes } from './exit.ts';
import { type Verb, brief, withStore } from './verb.ts';

export const rm: Verb = {
  define: (program) =>
    program
      .command('rm')
      .description('drop a root; "undelete" brings it back until gc frees what only it held')
      .argument('<dir>', 'the store')
      .argument('<root>', 'the name of the root')
      .option(
        '--sealed',
        'an encrypted store: ROOT is what it is found by, as ls --sealed tells; needs no key',
      ),
  async run(surrounding, [directory, name], { sealed }) {
    const context = sealed === true ? { ...surrounding, keyless: true } : surrounding;
    const { output } = context;
    const id = await withStore(
      directory!,
      context,
      async (store) => {
        if (sealed === true) return await dropSealed(store, name!);
        const held = await store.roots.get(name!);
        // By compare-and-swap: what is dropped is what was looked at.
        if (held === undefined || !(await store.roots.delete(name!, { expect: held })))
          throw new StoreError('not-found', `there is no root ${JSON.stringify(name)}`, { root: name });
        return held;
      },
      brief,
    );
    await output.line(`dropped ${JSON.stringify(name)}, which was ${id}`);
    await output.result({ root: name, id });
    return exitCodes.fine;
  },
};

async function dropSealed({ sealed }: Store, key: string): Promise<string> {
  const found = (await sealed.roots()).find((root) => root.key === key);
  if (found === undefined || !(await sealed.deleteRoot(key, { expect: found.locator })))
    throw new StoreError('not-found', `there is no root of the key ${key}`, { root: key });
  return found.locator;
}
