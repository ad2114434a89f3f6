/** The parts of the Store's interface that are objects of their own: roots, real folders, side tables. */
import type { BlobId, DeletedRoot, FileWork, Roots, SideTable } from './api.ts';
import { checkId, checkName } from './arguments.ts';
import type { Operation } from './commit/operations.ts';
import { StoreError } from './errors.ts';

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
    changes: (asked) =>
      run(() =>
        query(
          'rootChanges',
          asked.map(({ name, id }) => ({ name: root(name), id: checkId(id) })),
        ),
      ),
    deleted: () => run(() => query<DeletedRoot[]>('deletedRoots')),
    restore: (name, { sequence, as = name } = {}) =>
      run(async () => {
        const [wanted, target] = [root(name), root(as)];
        const found = (await query<DeletedRoot[]>('deletedRoots')).find(
          (one) => one.name === wanted && (sequence === undefined || one.sequence === sequence),
        );
        if (found === undefined)
          throw new StoreError('not-found', `no deleted root ${JSON.stringify(wanted)} is kept`, {
            root: wanted,
          });
        // Collected meanwhile, it is not-found as well; set meanwhile, a conflict.
        await submit<void>({ op: 'set-root', name: target, id: found.id, expect: null });
        return found.id;
      }),
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
