/** The alternates of a store as one of its threads sees them: opened for reading when they are first needed, looked through in order. */
import type { AlternateInfo } from '../api.ts';
import { isBorrowed } from '../catalog/blob-rows.ts';
import { openConnection } from '../catalog/connection.ts';
import { type StoreLayout, layoutOf } from '../catalog/layout.ts';
import { refuseOtherLibrary } from '../catalog/leases.ts';
import {
  type Registration,
  readRegistrations,
  registrationNames,
  writeRegistration,
} from '../catalog/registrations.ts';
import { checkCatalog, checkSchema, lendingVersion } from '../catalog/schema.ts';
import type { Provider } from '../codec/provider.ts';
import { type Superblock, decodeSuperblock } from '../codec/superblock.ts';
import type { DatabaseClass } from '../driver.ts';
import { StoreError, toStoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import { plainRealm } from '../keys/realm.ts';
import { type Lent, Reader } from './reader.ts';

/** Stores in a chain of alternates, however they hang together. */
export const chainMax = 8;

export interface AlternatesOptions {
  readonly host: Host;
  readonly driver: DatabaseClass;
  /** The module that the driver comes from, as the markers of open stores name it. */
  readonly library: string;
  readonly provider: Provider;
  readonly layout: StoreLayout;
  readonly storeId: string;
}

/** A store that is searched, or why it cannot be. */
export interface Link {
  readonly registration: Registration;
  /** Found in the alternates of this one; absent where it is an alternate of the store itself. */
  readonly through?: string;
  readonly lender?: Lender;
  readonly problem?: string;
}

export interface Lender {
  readonly registration: Registration;
  readonly layout: StoreLayout;
  readonly reader: Reader;
  /** Of its catalog. */
  readonly version: number;
  readonly inode: bigint;
}

export class Alternates {
  readonly #options: AlternatesOptions;
  readonly #opened = new Map<string, Lender>();
  /** For this opening alone, behind those that are registered. */
  #extra: readonly Registration[] = [];

  constructor(options: AlternatesOptions) {
    this.#options = options;
  }

  /** Stores that are searched too, and not remembered. Throws like `inspect`. */
  alsoSearch(stores: readonly { readonly path: string; readonly immutable: boolean }[]): void {
    this.#extra = stores.map(({ path, immutable }) => ({
      ...this.inspect(this.realFolder(path)).registration,
      immutable,
    }));
  }

  /** As it is named in registrations; as it was given where nothing is there. */
  realFolder(path: string): string {
    const { files } = this.#options.host;
    return files.facts(path) === undefined ? path : files.realPath(path);
  }

  /** Whether there is any: without, nothing here costs more than a look for a folder. */
  get any(): boolean {
    const { host, layout } = this.#options;
    return this.#extra.length > 0 || registrationNames(host.files, layout.alternates).length > 0;
  }

  /** All copies of a blob that alternates have, those found damaged last. `unavailable` when there is none, and one of them is away. */
  find(id: Uint8Array): Lent[] {
    return this.any ? findIn(this.chain(), id) : [];
  }

  /** The same of many: whether there is one. */
  has(ids: readonly Uint8Array[]): boolean[] {
    if (!this.any) return ids.map(() => false);
    const chain = this.chain();
    return ids.map((id) => findIn(chain, id).length > 0);
  }

  /** Every store that is searched, in order. A fresh look: alternates come and go while the store is open. */
  chain(): Link[] {
    const { links } = this.#walk([...this.own(), ...this.#extra]);
    for (const [key, lender] of this.#opened)
      if (!links.some((link) => link.lender === lender)) this.#drop(key);
    return links;
  }

  /** What would be searched with one more, or the same in another place; and whether that leads back to this store. */
  chainWith(more: Registration): { readonly links: Link[]; readonly cycle: boolean } {
    const others = this.own().filter(({ storeId }) => storeId !== more.storeId);
    return this.#walk([...others, more].toSorted((a, b) => a.order - b.order));
  }

  chainWithout(storeId: string): Link[] {
    return this.#walk(this.own().filter((one) => one.storeId !== storeId)).links;
  }

  #walk(own: readonly Registration[]): { readonly links: Link[]; readonly cycle: boolean } {
    const links: Link[] = [];
    const seen = new Set<string>();
    let cycle = false;
    const visit = (registration: Registration, through: string | undefined): void => {
      cycle ||= registration.storeId === this.#options.storeId;
      if (seen.has(registration.storeId) || registration.storeId === this.#options.storeId) return;
      seen.add(registration.storeId);
      const place = { registration, ...(through === undefined ? {} : { through }) };
      if (links.length >= chainMax)
        return void links.push({
          ...place,
          problem: `more than ${chainMax} stores in the chain of alternates`,
        });
      const found = this.#lookAt(registration);
      if (typeof found === 'string') return void links.push({ ...place, problem: found });
      links.push({ ...place, lender: found.lender });
      for (const next of found.next) visit(next, registration.storeId);
    };
    for (const registration of own) visit(registration, undefined);
    return { links, cycle };
  }

  list(): AlternateInfo[] {
    return this.chain().map(({ registration, through, problem }) => ({
      id: registration.storeId,
      path: registration.path,
      immutable: registration.immutable,
      ...(through === undefined ? {} : { through }),
      ...(problem === undefined ? {} : { problem }),
    }));
  }

  /** The alternates of the store itself. */
  own(): Registration[] {
    const { host, provider, layout } = this.#options;
    return readRegistrations(host.files, provider, layout.alternates);
  }

  /** What a store that is to become one says of itself. `incompatible-format`, `wrong-key`, `not-a-store` where it cannot be one. */
  inspect(path: string): { readonly registration: Registration; readonly superblock: Superblock } {
    const superblock = this.#superblock(layoutOf(this.#options.host.files, path));
    const registration = { storeId: superblock.storeId, path, order: 0, immutable: false };
    this.#lender(registration, superblock).reader.close();
    return { registration, superblock };
  }

  /**
   * Tells a lender, durably, that this store borrows from it. `forbidden` where it cannot be written; a store without the means to
   * look after borrowers is to be opened once by this version.
   */
  register({ layout, registration, version }: Lender): void {
    if (registration.immutable) return;
    const { host, provider, storeId, layout: mine } = this.#options;
    if (version < lendingVersion)
      throw new StoreError(
        'forbidden',
        `${layout.root} must be opened once by this version of holdfast, or be added as immutable`,
        { path: layout.root },
      );
    const place = { folder: layout.borrowers, parent: layout.root };
    const me = { storeId, path: mine.root, order: 0, immutable: false };
    try {
      writeRegistration(host.files, provider, place, me);
    } catch (error) {
      const told = toStoreError(error, 'registering', { path: layout.root });
      throw StoreError.is(told) && told.code === 'forbidden'
        ? new StoreError(
            'forbidden',
            `${layout.root} cannot be written, so it cannot be told what is borrowed from it; add it as immutable only if nothing is ever deleted from it`,
            { path: layout.root },
            error,
          )
        : told;
    }
  }

  /** Lets go of open files, so that removed volumes do not stay. */
  forget(): void {
    for (const { reader } of this.#opened.values()) reader.places.close();
  }

  close(): void {
    for (const key of [...this.#opened.keys()]) this.#drop(key);
  }

  #lookAt(registration: Registration): { lender: Lender; next: Registration[] } | string {
    const { host, provider } = this.#options;
    const layout = layoutOf(host.files, registration.path);
    const key = `${registration.storeId} ${registration.path}`;
    try {
      const known = this.#opened.get(key);
      // One that was taken away, put in another's place or given a new catalog is not the one that is open.
      const inode = host.files.facts(layout.superblock) && host.files.facts(layout.index)?.ino;
      let lender =
        known?.inode === inode && known?.registration.immutable === registration.immutable
          ? known
          : undefined;
      if (lender === undefined) {
        this.#drop(key);
        const superblock = this.#superblock(layout);
        if (superblock.storeId !== registration.storeId)
          return `another store is in its place: ${superblock.storeId}`;
        lender = this.#lender(registration, superblock);
        this.#opened.set(key, lender);
      }
      return { lender, next: readRegistrations(host.files, provider, layout.alternates) };
    } catch (error) {
      const told = toStoreError(error, 'looking at it');
      if (StoreError.is(told)) return told.message;
      throw error;
    }
  }

  #superblock(layout: StoreLayout): Superblock {
    const { host, provider } = this.#options;
    const size = host.files.facts(layout.superblock)?.size;
    if (size === undefined)
      throw new StoreError('not-a-store', `there is no store in ${layout.root}`, { path: layout.root });
    const bytes = new Uint8Array(Math.min(size, 65_536));
    const file = host.files.open(layout.superblock, 'read');
    try {
      file.read(bytes, 0);
    } finally {
      file.close();
    }
    const superblock = decodeSuperblock(provider, bytes);
    if (superblock.parameters.encryption !== null)
      throw new StoreError('wrong-key', `${layout.root} is encrypted: such a store is nobody's alternate`, {
        path: layout.root,
      });
    return superblock;
  }

  #lender(registration: Registration, { storeId, parameters }: Superblock): Lender {
    const { host, driver, library, provider } = this.#options;
    const layout = layoutOf(host.files, registration.path);
    const inode = host.files.facts(layout.index)?.ino;
    if (inode === undefined)
      throw new StoreError('unavailable', `the catalog of the store in ${layout.root} is gone`, {
        path: layout.index,
      });
    refuseOtherLibrary(host.files, layout.leases, {
      process: `${host.pid} ${host.processStart}`,
      library,
    });
    const db = openConnection(layout.index, {
      driver,
      durability: 'full',
      readonly: true,
      platform: host.platform,
    });
    try {
      checkCatalog(db);
      const version = checkSchema(db);
      const reader = new Reader(db, {
        host,
        driver,
        provider,
        realm: plainRealm,
        layout,
        storeId,
        chunkBytes: parameters.chunkBytes,
        access: 'read-only',
      });
      return { registration, layout, reader, version, inode };
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #drop(key: string): void {
    this.#opened.get(key)?.reader.close();
    this.#opened.delete(key);
  }
}

function findIn(chain: readonly Link[], id: Uint8Array): Lent[] {
  const found: Lent[] = [];
  const away: string[] = [];
  for (const { lender, problem, registration } of chain) {
    if (lender === undefined) {
      away.push(`${registration.path}: ${problem!}`);
      continue;
    }
    try {
      const row = lender.reader.rows.byId(id);
      if (row !== undefined && !isBorrowed(row))
        found.push({ reader: lender.reader, row, lender: registration });
    } catch (error) {
      const told = toStoreError(error, 'looking for it');
      if (!StoreError.is(told)) throw error;
      away.push(`${registration.path}: ${told.message}`);
    }
  }
  if (found.length === 0 && away.length > 0)
    throw new StoreError('unavailable', `an alternate cannot be used: ${away.join('; ')}`);
  return found.toSorted((a, b) => a.row.suspect - b.row.suspect);
}
