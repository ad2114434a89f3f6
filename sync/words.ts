/** Roots by locators in the caller's words: by name and id where the store has keys, else by the keys they are found by. */
import type { BlobId, Store } from '../engine/index.ts';
import type { Namespace } from './protocol/message.ts';

/** What is called how on the way. */
export interface Words {
  /** Names as they go to the protocol. */
  names(names: readonly string[] | undefined): Promise<readonly string[] | undefined>;
  expect(
    expect: Readonly<Record<string, BlobId | null>> | undefined,
  ): Promise<Readonly<Record<string, BlobId | null>> | undefined>;
  /** Roots as they are told. One whose name does not open is told by its key and its locator. */
  told<Root extends { readonly name: string; readonly id: BlobId }>(
    roots: readonly Root[],
  ): Promise<readonly Root[]>;
}

const asTheyAre: Words = {
  names: (names) => Promise.resolve(names),
  expect: (expect) => Promise.resolve(expect),
  told: (roots) => Promise.resolve(roots),
};

export function wordsOf(store: Store, by: Namespace | undefined): Words {
  if (by !== 'locators' || store.sealed.locked || store.parameters.encryption === null) return asTheyAre;
  const { sealed } = store;
  return {
    names: async (names) => names && (await sealed.keysOf(names)),
    async expect(expect) {
      if (expect === undefined) return undefined;
      const entries = Object.entries(expect);
      const keys = await sealed.keysOf(entries.map(([name]) => name));
      const ids = entries.flatMap(([, id]) => (id === null ? [] : [id]));
      const locators = new Map((await sealed.locatorsOf(ids)).map((locator, i) => [ids[i]!, locator]));
      return Object.fromEntries(entries.map(([, id], i) => [keys[i]!, id && locators.get(id)!]));
    },
    async told(roots) {
      if (roots.length === 0) return roots;
      const named = await store.roots.list();
      const keys = await sealed.keysOf(named.map(({ name }) => name));
      const known = new Map(keys.map((key, i) => [key, named[i]!]));
      return roots.map((root) => {
        const found = known.get(root.name);
        return found === undefined ? root : { ...root, name: found.name, id: found.id };
      });
    },
  };
}
