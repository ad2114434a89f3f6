/** The commit thread's work on alternates, by name: adding, telling and removing them, and the stores that borrow from this one. */
import type { AlternateInfo } from '../api.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { type Registration, removeRegistrations, writeRegistration } from '../catalog/registrations.ts';
import type { Provider } from '../codec/provider.ts';
import type { OperationResult } from '../commit/committer.ts';
import { type Alternates, type Link, chainMax } from '../content/alternates.ts';
import type { Lending } from '../content/lending.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { Realm } from '../keys/realm.ts';
import type { Handler } from '../rpc.ts';

export interface AlternateContext {
  readonly host: Host;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly storeId: string;
  readonly realm: Realm;
  readonly catalog: Catalog;
  readonly alternates: Alternates;
  readonly lending: Lending;
}

/** `run` lets the work at the open store, and judges what it throws. */
export function alternateHandlers(
  run: <Result>(work: (context: AlternateContext) => Result) => Result,
): Readonly<Record<string, Handler>> {
  return {
    'alternates-add': (wish: { readonly path: string; readonly immutable: boolean }) =>
      run((context) => outside(() => add(context, wish))),
    'alternates-remove': (path: string) => run((context) => outside(() => remove(context, path))),
    'alternates-lend': (on: boolean) => run(({ lending }) => void (lending.on = on)),
    'alternates-end': () => run((context) => outside(() => removeAll(context))),
    'borrowers-forget': ({ id, path }: { readonly id: string; readonly path?: string }) =>
      run(({ host, provider, layout }) =>
        outside(() =>
          removeRegistrations(host.files, provider, layout.borrowers, {
            storeId: id,
            ...(path === undefined ? {} : { path }),
          }),
        ),
      ),
  };
}

/** What is not here may be in an alternate that is away: then it is not said to be missing. */
export function unknownIsNotAbsent(
  results: readonly OperationResult[],
  lending: Lending,
): readonly OperationResult[] {
  return results.map((result) => {
    if (!('error' in result) || !StoreError.is(result.error, 'not-found')) return result;
    const { id, missing } = result.error.facts;
    const ids = Array.isArray(missing) ? (missing as string[]) : typeof id === 'string' ? [id] : [];
    const doubt = lending.doubt(ids);
    return doubt === undefined ? result : { error: doubt };
  });
}

/** Trouble with the folder of another store, or with a small file beside the catalog, says nothing of the disk that commits go to. */
function outside<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw toStoreError(error, 'changing alternates');
  }
}

function add(
  context: AlternateContext,
  { path, immutable }: { readonly path: string; readonly immutable: boolean },
): AlternateInfo {
  const { host, provider, layout, storeId, realm, alternates } = context;
  if (realm.state !== 'plain')
    throw new StoreError(
      'wrong-key',
      'an encrypted store has no alternates: which blobs it borrows would tell what is in it',
      { path },
    );
  const folder = alternates.realFolder(path);
  const own = alternates.own();
  const same = own.find((one) => one.path === folder && one.immutable === immutable);
  // It may be away just now: it is no less an alternate.
  if (same !== undefined) {
    // It may have been told to forget this store, or this store may lie elsewhere now.
    for (const { lender } of alternates.chain())
      if (lender?.registration.storeId === same.storeId) alternates.register(lender);
    return alternates.list().find(({ id }) => id === same.storeId)!;
  }
  const { registration: found, superblock } = alternates.inspect(folder);
  if (superblock.incompat.length > 0)
    throw new StoreError('incompatible-format', `${folder} uses ${superblock.incompat.join(', ')}`, { path });
  if (found.storeId === storeId)
    throw new StoreError('conflict', 'a store cannot be its own alternate', { path });
  const known = own.find((one) => one.storeId === found.storeId);
  const order = known?.order ?? (own.at(-1)?.order ?? 0) + 1;
  const registration: Registration = { ...found, order, immutable };
  const chain = alternates.chainWith(registration);
  if (chain.cycle)
    throw new StoreError('conflict', `${folder} has this store among its alternates already`, { path });
  if (chain.links.length > chainMax)
    throw new StoreError('limit-exceeded', `a chain of alternates has at most ${chainMax} stores`, { path });
  // Before it is here: a lender that was told and is not used is only asked in vain.
  for (const { lender, registration: one } of chain.links)
    if (lender !== undefined && one.storeId === found.storeId) alternates.register(lender);
  if (known !== undefined && (known.path !== folder || known.immutable !== immutable))
    removeRegistrations(host.files, provider, layout.alternates, { storeId: found.storeId });
  writeRegistration(host.files, provider, { folder: layout.alternates, parent: layout.root }, registration);
  return alternates.list().find(({ id }) => id === found.storeId)!;
}

/** `conflict` while something is borrowed that the others do not have. Nothing is borrowed meanwhile: it is under the write lock. */
function remove(context: AlternateContext, path: string): void {
  const { host, provider, layout, alternates, catalog, lending } = context;
  const folder = alternates.realFolder(path);
  const own = alternates.own();
  const gone = own.find((one) => one.path === folder || one.path === path);
  if (gone === undefined)
    throw new StoreError('not-found', `${path} is no alternate of this store`, { path });
  const before = alternates.chain();
  catalog.transaction(() => {
    lending.look();
    const lacking = borrowedBeside(context, alternates.chainWithout(gone.storeId));
    if (lacking > 0)
      throw new StoreError(
        'conflict',
        `${lacking} blob(s) are borrowed that no other alternate has: "dissociate" copies them in first`,
        { path, borrowed: lacking },
      );
    removeRegistrations(host.files, provider, layout.alternates, { storeId: gone.storeId });
  });
  unregister(context, before);
}

/** How many borrowed blobs these alternates cannot be relied on for. Those that can are told. */
function borrowedBeside({ catalog, lending }: AlternateContext, chain: readonly Link[]): number {
  let lacking = 0;
  for (let last = 0; ;) {
    const page = catalog.sql
      .rows('SELECT n, id, kind FROM blobs WHERE codec = 3 AND n > ? ORDER BY n LIMIT 1000')
      .all(last) as { readonly n: number; readonly id: Uint8Array; readonly kind: number }[];
    if (page.length === 0) return lacking;
    lacking += page.filter(({ id, kind }) => !lending.lendsIn(chain, id, kind)).length;
    last = page.at(-1)!.n;
  }
}

/** After everything was copied in. `conflict` where something was borrowed since. */
function removeAll(context: AlternateContext): void {
  const { host, provider, layout, alternates, catalog } = context;
  const before = alternates.chain();
  catalog.transaction((transaction) => {
    const left = transaction.catalog.sql.values('SELECT count(*) FROM blobs WHERE codec = 3').get() as number;
    if (left > 0) throw new StoreError('conflict', `${left} blob(s) are borrowed still`, { borrowed: left });
    for (const { storeId } of alternates.own())
      removeRegistrations(host.files, provider, layout.alternates, { storeId });
  });
  unregister(context, before);
}

/** Stores that are not searched any more are told so. One that cannot be written keeps the note, and asks in vain. */
function unregister(
  { host, provider, storeId, layout, alternates }: AlternateContext,
  before: readonly Link[],
): void {
  const searched = new Set(alternates.chain().map(({ registration }) => registration.storeId));
  for (const { lender, registration } of before) {
    if (lender === undefined || searched.has(registration.storeId)) continue;
    try {
      const { borrowers: folder } = lender.layout;
      removeRegistrations(host.files, provider, folder, { storeId, path: layout.root });
    } catch (error) {
      if (!StoreError.is(toStoreError(error, 'unregistering'))) throw error;
    }
  }
}
