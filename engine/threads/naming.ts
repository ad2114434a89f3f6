/** Between what callers say and what is on disk: ids and names of operations on their way in, of errors on their way out. */
import { sideKey } from '../content/queries.ts';
import type { BlobReader } from '../catalog/blob-rows.ts';
import type { OperationResult } from '../commit/committer.ts';
import type { CommitOperation, Operation } from '../commit/operations.ts';
import { fromHex } from '../codec/bytes.ts';
import { StoreError } from '../errors.ts';
import type { Named, Realm } from '../keys/realm.ts';

/**
 * Commits operations that callers asked for: those whose names cannot be told apart fail by themselves, the others go on together, and
 * errors come back in the caller's words.
 */
export function committed(
  operations: readonly Operation[],
  { realm, rows }: { readonly realm: Realm; readonly rows: BlobReader },
  commit: (named: readonly CommitOperation[]) => readonly OperationResult[],
): OperationResult[] {
  const asked = operations.map((operation) => {
    try {
      return named(realm, operation);
    } catch (error) {
      return { error };
    }
  });
  const results = commit(asked.flatMap((one) => ('operation' in one ? [one.operation] : [])));
  const reveal = (name: Uint8Array): string | undefined => {
    const row = rows.inspect(name)?.row;
    return row && realm.reveal(row.id, row.label)?.id;
  };
  let next = 0;
  return asked.map((one) => {
    const result = 'error' in one ? one : results[next++]!;
    if (!('error' in result) || realm.state === 'plain') return result;
    return { error: toldError(result.error, reveal, 'said' in one ? one.said : undefined) };
  });
}

/** What a blob is called on disk that was told of. Without keys what was told is that already. */
export function nameTold(realm: Realm, id: string): string {
  return realm.state === 'locked' ? id : realm.nameOf(id);
}

/** What callers said, by what it is called on disk. */
export type Said = ReadonlyMap<string, string>;

/** An operation as it is committed. `wrong-key` where that takes keys that are not here. */
function named(realm: Realm, operation: Operation): { operation: CommitOperation; said: Said } {
  const said = new Map<string, string>();
  const id = (text: string): string => note(said, realm.nameOf(text), text);
  const one = (): CommitOperation => {
    switch (operation.op) {
      case 'put-small':
        for (const link of operation.links ?? []) said.set(link.name, link.id);
        return owned(realm, operation);
      case 'probe-large':
        return owned(realm, operation);
      case 'put-large':
        return owned(realm, operation);
      case 'put-chunked':
        return owned(realm, operation);
      case 'retain':
      case 'release':
        return { ...operation, id: id(operation.id), owner: realm.named('owner', operation.owner) };
      case 'set-root': {
        if (operation.sealed === true)
          return { ...operation, name: sealedName(realm, operation.name, operation.id) };
        const blob = id(operation.id);
        const name = realm.named('root', operation.name, blob);
        note(said, name.key, operation.name);
        return { ...operation, id: blob, name, expect: operation.expect && id(operation.expect) };
      }
      case 'delete-root': {
        if (operation.sealed === true)
          return { ...operation, name: { key: realm.keyOf(operation.name), shown: operation.name } };
        const name = realm.named('root', operation.name);
        note(said, name.key, operation.name);
        return { ...operation, name, expect: operation.expect && id(operation.expect) };
      }
      case 'side-set': {
        const name = realm.find('side', operation.name);
        const entries = operation.entries.map(([text, value]): [string, Uint8Array | undefined] => {
          const key = sideKey(realm, operation.name, text);
          return [key, value && realm.sealSide(name + key, value)];
        });
        return { ...operation, name, entries };
      }
      case 'used':
        return {
          ...operation,
          owner: realm.named('owner', operation.owner),
          ids: operation.ids.map((text) => realm.nameOf(text)),
        };
      case 'evict':
        return { ...operation, owner: realm.named('owner', operation.owner) };
      case 'suspect':
        return { ...operation, id: nameTold(realm, operation.id) };
      default:
        return operation;
    }
  };
  return { operation: one(), said };
}

/** The sealed name of a root that points to this locator, as another store has it. With keys `tampered` unless it is that. */
function sealedName(realm: Realm, shown: string, locator: string): Named {
  if (realm.state === 'plain' || !/^[0-9a-f]{64}\.(?:[0-9a-f]{2}){46,4096}$/.test(shown))
    throw new StoreError('invalid-argument', 'the name of a root is not sealed');
  const key = realm.keyOf(shown);
  if (realm.state === 'open' && realm.find('root', realm.tell('root', shown, locator)) !== key)
    throw new StoreError('tampered', 'the name of a root stands in the place of another');
  return { key, shown };
}

type Owned<Put> = Omit<Put, 'owner'> & { readonly owner?: Named };

function owned<Put extends { readonly owner?: string }>(realm: Realm, put: Put): Owned<Put> {
  const { owner, ...rest } = put;
  return owner === undefined ? rest : { ...rest, owner: realm.named('owner', owner) };
}

function note(said: Map<string, string>, name: string, text: string): string {
  said.set(name, text);
  return name;
}

const names = /\b[0-9a-f]{64}\b/g;

/** What a row of the catalog tells of a blob that is called so on disk. */
export type Reveal = (name: Uint8Array) => string | undefined;

/** An error in the caller's words: each name on disk becomes the id, or the name, that it stands for. */
export function toldError(error: unknown, reveal: Reveal, said: Said = new Map()): unknown {
  if (!StoreError.is(error)) return error;
  const word = (name: string): string =>
    said.get(name) ?? unlessFailing(() => reveal(fromHex(name)!)) ?? name;
  const text = (value: string): string => value.replace(names, word);
  const fact = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value);
    return Array.isArray(value) ? value.map(fact) : value;
  };
  const facts = Object.fromEntries(Object.entries(error.facts).map(([key, value]) => [key, fact(value)]));
  return new StoreError(error.code, text(error.message), facts as StoreError['facts'], error.cause);
}

/** An error is told even where the catalog it would be told by is what is damaged. */
function unlessFailing(work: () => string | undefined): string | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
