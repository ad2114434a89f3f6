// What a store does while a call of its host fails: each scenario by name, with what is there before it.
import {
  type BlobId,
  type Link,
  type OpenOptions,
  type PutSource,
  type Store,
  encodeNode,
  rebuildStore,
} from '../../engine/index.ts';
import type { Host } from '../../engine/host.ts';
import { chunking } from '../engine/chunked-store.ts';
import { inPieces, noise, sha256, smallParameters } from '../engine/store-folder.ts';

/** What a run was told, by which it is judged. */
export interface Told {
  /** Contents whose put with an owner was acknowledged and that nobody tried to release. */
  readonly held: Map<BlobId, Uint8Array>;
  /** What each root may be: one thing, unless a change of it was not answered. */
  readonly roots: Map<string, Set<BlobId | undefined>>;
  readonly errors: unknown[];
}

export class Run {
  readonly told: Told = { held: new Map(), roots: new Map(), errors: [] };
  readonly path: string;
  /** An empty folder beside the store. */
  readonly side: string;
  readonly host: Host;
  readonly options: OpenOptions;
  #store: Store | undefined;

  constructor(place: { readonly path: string; readonly side: string }, host: Host, options: OpenOptions) {
    this.path = place.path;
    this.side = place.side;
    this.host = host;
    this.options = { ...options, threads: { count: 0 }, host };
  }

  /** Whether it was done; what it fails with is remembered. */
  async attempt(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.told.errors.push(error);
      return false;
    }
  }

  /** The open store; throws where it cannot be opened. */
  async store(open: (path: string, options: OpenOptions) => Promise<Store>): Promise<Store> {
    this.#store ??= await open(this.path, this.options);
    return this.#store;
  }

  async close(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    if (store !== undefined) await this.attempt(() => store.close());
  }

  async put(
    store: Store,
    bytes: Uint8Array,
    source: PutSource = bytes,
    links?: readonly Link[],
  ): Promise<void> {
    const stored = links === undefined ? bytes : encodeNode({ links, payload: bytes });
    const options = { owner: 'x', ...(links === undefined ? {} : { links }) };
    if (await this.attempt(() => store.put(source, options))) this.told.held.set(sha256(stored), stored);
  }

  async release(store: Store, bytes: Uint8Array): Promise<void> {
    this.told.held.delete(sha256(bytes));
    await this.attempt(() => store.release(sha256(bytes), 'x'));
  }

  async setRoot(store: Store, name: string, bytes: Uint8Array): Promise<void> {
    const id = sha256(bytes);
    this.#may(name, id);
    if (await this.attempt(() => store.roots.set(name, id))) this.told.roots.set(name, new Set([id]));
  }

  async deleteRoot(store: Store, name: string): Promise<void> {
    this.#may(name, undefined);
    if (await this.attempt(() => store.roots.delete(name))) this.told.roots.set(name, new Set([undefined]));
  }

  #may(name: string, id: BlobId | undefined): void {
    this.told.roots.set(name, new Set([...(this.told.roots.get(name) ?? [undefined]), id]));
  }
}

export interface Scenario {
  readonly options?: OpenOptions;
  /** On a sound host, before. Absent: the store is made in the run. */
  readonly before?: (run: Run, store: Store) => Promise<void>;
  /** Leaves the store of before as a killed process does. */
  readonly killed?: true;
  readonly work: (run: Run, store: Store) => Promise<void>;
  /** Instead of opening the store first. */
  readonly rebuild?: true;
}

const small = noise(900, 1);
const other = noise(1200, 2);
const large = noise(smallParameters.smallMax + 500, 3);
const larger = noise(smallParameters.smallMax * 3, 4);
const text = new TextEncoder().encode('the same words again and again, '.repeat(1500));
const secret = { kind: 'raw-key', key: new Uint8Array(32).fill(9) } as const;
const plain: OpenOptions = { parameters: { ...smallParameters, volumeBytesMax: 1024 * 1024 } };
const encrypted: OpenOptions = { ...plain, encryption: { secret } };
const chunked: OpenOptions = { parameters: { ...smallParameters, chunking } };
const compressed: OpenOptions = { ...plain, compression: 'always' };
const packed: OpenOptions = {
  parameters: { ...smallParameters, chunking: { ...chunking, mode: 'off' } },
  layout: 'sqlite-only',
};
/** Before the first put of a scenario there is something that must stay. */
const some = async (run: Run, store: Store): Promise<void> => {
  for (const bytes of [small, other, large]) await run.put(store, bytes);
  await run.setRoot(store, 'main', small);
};
const childrenOf = (...blobs: readonly Uint8Array[]): Link[] =>
  blobs.map((bytes): Link => ({ kind: 'raw', id: sha256(bytes) })).sort((a, b) => (a.id < b.id ? -1 : 1));
const parent = new Uint8Array([1, 2, 3]);

async function extended(run: Run, store: Store): Promise<void> {
  await run.attempt(() => store.volumes.extend(`${run.side}/disk`));
  await run.attempt(() => store.volumes.extend(`${run.side}/packs`, { kind: 'sqlite' }));
}
async function group(run: Run, store: Store): Promise<void> {
  await some(run, store);
  await extended(run, store);
}
async function mirrored(run: Run, store: Store): Promise<void> {
  await group(run, store);
  await run.attempt(() => store.volumes.mirror(2));
}
const emptied = async (run: Run, store: Store): Promise<void> => {
  await some(run, store);
  await run.put(store, larger);
  await run.put(store, parent, parent, childrenOf(small, large));
  for (const bytes of [other, larger]) await store.release(sha256(bytes), 'x');
  for (const bytes of [other, larger]) run.told.held.delete(sha256(bytes));
};
const reads = async (run: Run, store: Store): Promise<void> => {
  for (const bytes of run.told.held.values()) {
    const id = sha256(bytes);
    const right = (got: Uint8Array | undefined, want: Uint8Array): void => {
      if (got === undefined || Buffer.compare(got, want) !== 0) throw new TypeError('wrong bytes were read');
    };
    await run.attempt(async () => right(await store.get(id), bytes));
    await run.attempt(async () => right(await store.readRange(id, 100, 300), bytes.subarray(100, 400)));
    await run.attempt(async () =>
      right(new Uint8Array(await new Response(await store.stream(id)).arrayBuffer()), bytes),
    );
    await run.attempt(() => store.exportTo({ id, path: `${run.side}/${id}` }));
  }
};
const scrubbed = async (run: Run, store: Store): Promise<void> =>
  void (await run.attempt(() => store.scrub()));
const collected = async (run: Run, store: Store): Promise<void> =>
  void (await run.attempt(() => store.gc({ graceMs: 0 })));
const moving =
  (
    from: (ids: readonly { readonly id: string; readonly kind: string }[]) => string | undefined,
    how: 'move' | 'reduce',
  ) =>
  async (run: Run, store: Store): Promise<void> => {
    await run.attempt(async () => {
      const id = from(await store.volumes.list());
      if (id !== undefined) await store.volumes[how](id);
    });
    await run.put(store, larger);
  };

export const scenarios: Readonly<Record<string, Scenario>> = {
  'a store is made': { options: plain, work: (run, store) => run.put(store, small) },
  'an encrypted store is made': { options: encrypted, work: (run, store) => run.put(store, small) },
  'put, small': { options: plain, before: some, work: (run, store) => run.put(store, noise(5000, 11)) },
  'put, twenty at once': {
    options: plain,
    before: some,
    work: async (run, store) =>
      void (await Promise.all(Array.from({ length: 20 }, (_, i) => run.put(store, noise(700, 20 + i))))),
  },
  'put, large': { options: plain, before: some, work: (run, store) => run.put(store, larger) },
  'put, a stream': {
    options: plain,
    before: some,
    work: (run, store) => run.put(store, larger, inPieces(larger, 5000)),
  },
  'put again what is here': {
    options: plain,
    before: some,
    work: async (run, store) => {
      await run.put(store, small);
      await run.put(store, large);
    },
  },
  'put, chunked': { options: chunked, before: some, work: (run, store) => run.put(store, larger) },
  'put, compressed': {
    options: compressed,
    before: some,
    work: async (run, store) => {
      await run.put(store, text);
      await run.put(store, text.subarray(0, 5000));
    },
  },
  'put, encrypted': {
    options: encrypted,
    before: some,
    work: async (run, store) => {
      await run.put(store, noise(5000, 12));
      await run.put(store, larger, inPieces(larger, 5000));
    },
  },
  'put, all in SQLite': { options: packed, before: some, work: (run, store) => run.put(store, larger) },
  'put, mirrored': {
    options: plain,
    before: mirrored,
    work: async (run, store) => {
      await run.put(store, noise(5000, 13));
      await run.put(store, larger);
    },
  },
  'a tree in a session': {
    options: plain,
    before: some,
    work: async (run, store) => {
      await run.attempt(async () => {
        await using session = await store.session();
        void session;
        await run.put(store, noise(600, 14));
        await run.put(store, larger);
        await run.put(store, parent, parent, childrenOf(noise(600, 14), larger));
      });
      await run.setRoot(store, 'tree', small);
    },
  },
  'roots are set, moved and deleted': {
    options: plain,
    before: some,
    work: async (run, store) => {
      await run.setRoot(store, 'main', large);
      await run.setRoot(store, 'second', other);
      await run.deleteRoot(store, 'main');
    },
  },
  'retained and released': {
    options: plain,
    before: some,
    work: async (run, store) => {
      await run.attempt(() => store.retain(sha256(small), 'y'));
      await run.release(store, other);
      await run.release(store, large);
    },
  },
  collection: { options: plain, before: emptied, work: collected },
  'collection, encrypted': { options: encrypted, before: emptied, work: collected },
  'collection, chunked': { options: chunked, before: emptied, work: collected },
  'collection, mirrored': {
    options: plain,
    before: async (run, store) => {
      await mirrored(run, store);
      await run.release(store, large);
    },
    work: collected,
  },
  reads: { options: plain, before: some, work: reads },
  'reads, compressed and encrypted': {
    options: { ...encrypted, compression: 'always' },
    before: async (run, store) => {
      await some(run, store);
      await run.put(store, text);
    },
    work: reads,
  },
  'reads, mirrored': { options: plain, before: mirrored, work: reads },
  scrub: { options: plain, before: emptied, work: scrubbed },
  'scrub, encrypted': { options: encrypted, before: emptied, work: scrubbed },
  'scrub, mirrored': { options: plain, before: mirrored, work: scrubbed },
  'a group is extended': {
    options: plain,
    before: some,
    work: async (run, store) => {
      await extended(run, store);
      await run.put(store, larger);
    },
  },
  'a directory is emptied': {
    options: plain,
    before: group,
    work: moving((all) => all.find(({ kind }) => kind === 'directory')?.id, 'move'),
  },
  'records are moved': {
    options: plain,
    before: group,
    work: moving((all) => all.find(({ kind }) => kind === 'sqlite')?.id, 'move'),
  },
  'a volume is removed': {
    options: plain,
    before: async (run, store) => {
      await group(run, store);
      await store.volumes.move('blobs');
    },
    work: moving((all) => all.findLast(({ kind }) => kind === 'directory')?.id, 'reduce'),
  },
  'a group is mirrored': {
    options: plain,
    before: group,
    work: async (run, store) => {
      await run.attempt(() => store.volumes.mirror(2));
    },
  },
  'mirroring is ended': {
    options: plain,
    before: mirrored,
    work: async (run, store) => {
      await run.attempt(() => store.volumes.mirror(1));
    },
  },
  'rebalanced and compacted': {
    options: plain,
    before: async (run, store) => {
      await emptied(run, store);
      await extended(run, store);
      await store.gc({ graceMs: 0 });
    },
    work: async (run, store) => {
      await run.attempt(() => store.volumes.rebalance());
      await run.attempt(() => store.compact());
    },
  },
  'keys are changed': {
    options: encrypted,
    before: some,
    work: async (run, store) => {
      await run.attempt(() => store.keys.add({ kind: 'raw-key', key: new Uint8Array(32).fill(1) }));
      await run.attempt(() => store.keys.rotate());
      await run.put(store, larger);
    },
  },
  'opened and closed': { options: plain, before: some, work: async () => undefined },
  'opened after a kill': {
    options: plain,
    before: emptied,
    killed: true,
    work: (run, store) => run.put(store, larger),
  },
  'opened after a kill, encrypted': {
    options: encrypted,
    before: some,
    killed: true,
    work: (run, store) => run.put(store, larger),
  },
  rebuilt: {
    options: plain,
    before: emptied,
    rebuild: true,
    work: async (run) =>
      void (await run.attempt(() => rebuildStore(run.path, { host: run.host, threads: { count: 0 } }))),
  },
};
