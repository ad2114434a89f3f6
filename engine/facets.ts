/** The parts of the Store's interface that are objects of their own: roots, real folders, side tables. */
import type { BlobId, BlobStat, FileWork, Roots, SideTable } from './api.ts';
import { checkId, checkName } from './arguments.ts';
import { StoreError } from './errors.ts';
import type { Operation } from './commit/operations.ts';

/** What a facet may ask of the store it belongs to. */
export interface Calls {
  /** Refuses when the store is closed, and makes closing wait. */
  readonly run: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** Refuses where the store cannot be written, and notes when it cannot any more. */
  readonly writing: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** Into the next group commit. */
  readonly submit: <Result>(operation: Operation) => Promise<Result>;
  readonly query: <Result>(name: string, ...args: readonly unknown[]) => Promise<Result>;
  /** A call of a worker thread. */
  readonly work: <Result>(method: string, args: unknown) => Promise<Result>;
}

/** Blobs page by page. */
export async function* listBlobs(
  { run, query }: Pick<Calls, 'run' | 'query'>,
  options: { readonly after?: BlobId; readonly prefix?: string; readonly signal?: AbortSignal },
): AsyncIterable<BlobStat> {
  const prefix = options.prefix ?? '';
  if (!/^[0-9a-f]{0,64}$/.test(prefix))
    throw new StoreError('invalid-argument', `not the beginning of a blob id: ${prefix.slice(0, 80)}`);
  let after = options.after === undefined ? '' : checkId(options.after);
  for (;;) {
    options.signal?.throwIfAborted();
    const page = await run(() => query<BlobStat[]>('list', after, prefix));
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.id;
  }
}

/** Which of many ids are known, asked some at a time. */
export async function knownOf({ query }: Pick<Calls, 'query'>, ids: Iterable<BlobId>): Promise<Set<BlobId>> {
  const all = [...ids].map(checkId);
  const found = new Set<BlobId>();
  for (let at = 0; at < all.length; at += 10_000) {
    const page = all.slice(at, at + 10_000);
    const here = await query<boolean[]>('hasMany', page);
    page.forEach((id, i) => here[i] === true && found.add(id));
  }
  return found;
}

export function makeRoots({ run, submit, query }: Calls): Roots {
  const root = (name: string): string => checkName(name, 'root');
  return {
    set: (name, id, { expect } = {}) =>
      run(() =>
        submit<void>({
          op: 'set-root',
          name: root(name),
          id: checkId(id),
          expect: expect === undefined || expect === null ? expect : checkId(expect),
        }),
      ),
    get: (name) => run(() => query<BlobId | undefined>('root', root(name))),
    list: () => run(() => query('roots')),
    delete: (name, { expect } = {}) =>
      run(() =>
        submit<boolean>({
          op: 'delete-root',
          name: root(name),
          expect: expect === undefined ? undefined : checkId(expect),
        }),
      ),
    log: ({ after = 0, limit = 1000 } = {}) => run(() => query('rootLog', after, limit)),
  };
}

export function makeFiles({ run, work }: Calls): FileWork {
  return {
    list: (path) => run(() => work('list', path)),
    facts: (path) => run(() => work('facts', path)),
    readLink: (path) => run(() => work('read-link', path)),
    realPath: (path) => run(() => work('real-path', path)),
    run: (steps) => run(() => work('steps', steps)),
  };
}

export function makeSideTable(name: string, { run, submit, query }: Calls): SideTable {
  checkName(name, 'side table');
  return {
    get: (keys) => run(() => query<(Uint8Array | undefined)[]>('side', name, [...keys])),
    set: (entries) => run(() => submit<void>({ op: 'side-set', name, entries: [...entries] })),
  };
}
