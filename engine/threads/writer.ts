/** The work the commit thread offers by name: opening with recovery, group commits, collection, the catalog's side of scrubs. */
import { type BlobRow, partNameOf } from '../catalog/blob-rows.ts';
import { Catalog, type Transaction } from '../catalog/catalog.ts';
import { openConnection } from '../catalog/connection.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { Lease, LibraryMarker } from '../catalog/leases.ts';
import { refuseWhileRebuilt } from '../catalog/rebuild-lock.ts';
import { RootLog } from '../catalog/root-log.ts';
import { checkCatalog, migrate } from '../catalog/schema.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { borrowFirst } from '../commit/borrow.ts';
import { Committer } from '../commit/committer.ts';
import { fillBallast, removeIfThere } from '../commit/create.ts';
import type { Operation } from '../commit/operations.ts';
import { Alternates } from '../content/alternates.ts';
import { Contents } from '../content/contents.ts';
import { GivingWay } from '../content/giving-way.ts';
import { Lending } from '../content/lending.ts';
import { mendKeyFiles } from '../commit/key-files.ts';
import { setAside } from '../commit/quarantine.ts';
import { VolumeSet } from '../commit/volume-set.ts';
import { type DatabaseClass, loadDriver } from '../driver.ts';
import { StoreError, invariant, poisons, toStoreError, writeError } from '../errors.ts';
import type { Host } from '../host.ts';
import { type GcRequest, collect } from '../maintenance/gc.ts';
import { Borrowers } from '../maintenance/lent.ts';
import type { MirrorContext } from '../maintenance/mirror.ts';
import { type RecoverContext, recover } from '../maintenance/recover.ts';
import { removeCondemned } from '../maintenance/tombstones.ts';
import { type SettleRequest, Settling } from '../maintenance/settle-scrub.ts';
import { type CallContext, type Handler, errorToData } from '../rpc.ts';
import { alternateHandlers, unknownIsNotAbsent } from './alternate-work.ts';
import { type KeyContext, type KeyView, checkNewest, keyHandlers } from './key-work.ts';
import { type Realm, findUnlocked, realmOf, wipeKeys } from './realms.ts';
import { type Parts, closeParts } from './closing.ts';
import { groupHandlers } from './group-work.ts';
import { committed, nameTold } from './naming.ts';
import type { OpenedStore, WriterOptions } from './opened.ts';
import { upkeepHandlers } from './upkeep-work.ts';

/** A store that was found, and how ids and names stand in it. */
interface Found {
  readonly facts: OpenedStore;
  readonly realm: Realm;
  /** The file that its keys came out of; absent without keys, and where they were made just now. */
  readonly keysFile: Uint8Array | undefined;
}

export class Writer {
  readonly #host: Host;
  readonly #provider: Provider;
  #parts: Parts | undefined;
  /** Also where it is open for reading only. */
  #found: Found | undefined;
  #poison: StoreError | undefined;
  #collecting = false;
  readonly #settling = new Settling();

  constructor(host: Host, provider: Provider) {
    this.#host = host;
    this.#provider = provider;
  }

  handlers(): Readonly<Record<string, Handler>> {
    return {
      open: (options: WriterOptions) => this.#openStore(options),
      commit: (operations: readonly Operation[]) => this.#commit(operations),
      gc: (request: GcRequest, context: CallContext) => this.#gc(request, context),
      'scrub-settle': (request: SettleRequest) => this.#settle(request),
      ...upkeepHandlers((work) => {
        const { catalog, recovery } = this.#open;
        return this.#write(() => work({ ...recovery, catalog }));
      }),
      ...groupHandlers(
        (work) => this.#onGroup(work),
        (id) => nameTold(this.#open.realm, id),
      ),
      ...alternateHandlers((work) =>
        this.#write(() =>
          work({ ...this.#open, ...this.#open.recovery, storeId: this.#found!.facts.storeId }),
        ),
      ),
      ...keyHandlers(
        () => this.#keyContext(),
        () => this.#keyView(),
      ),
      poison: (message: string) => this.#setPoison(new StoreError('needs-reopen', message)),
      close: () => this.#close(),
    };
  }

  get #open(): Parts {
    invariant(this.#parts !== undefined, 'the commit thread was asked before it was opened');
    return this.#parts;
  }

  async #openStore(options: WriterOptions): Promise<OpenedStore> {
    const host = this.#host;
    const driver = await loadDriver(options.driver);
    const { layout, superblock, keyring, keysFile } = await findUnlocked(options, {
      host,
      driver,
      provider: this.#provider,
    });
    const facts: OpenedStore = {
      layout,
      storeId: superblock.storeId,
      format: superblock.format,
      parameters: superblock.parameters,
      ...(keyring === undefined ? {} : { keyring: keyring.encode() }),
    };
    const realm = realmOf(host, this.#provider, { encryption: superblock.parameters.encryption, keyring });
    const found: Found = { facts, realm, keysFile };
    this.#found = found;
    if (options.mode === 'read-only') return facts;
    if (superblock.roCompat.length > 0) {
      throw new StoreError(
        'incompatible-format',
        `this store can only be read here: it uses ${superblock.roCompat.join(', ')}`,
      );
    }
    try {
      return this.#takeOnFullDisk(driver, options, found);
    } catch (error) {
      throw toStoreError(error, `opening the store in ${options.root}`, { path: options.root });
    }
  }

  /** Where not a page is free, the space held back lets one in, to collect. */
  #takeOnFullDisk(driver: DatabaseClass, options: WriterOptions, found: Found): OpenedStore {
    const { files } = this.#host;
    const { ballast } = found.facts.layout;
    try {
      return this.#take(driver, options, found);
    } catch (error) {
      const full = StoreError.is(toStoreError(error, 'opening'), 'no-space');
      if (!full || files.facts(ballast) === undefined) throw error;
      removeIfThere(files, ballast);
      return this.#take(driver, options, found);
    }
  }

  /** Opens for writing: marker, catalog, lease and recovery; takes everything back where one of them fails. */
  #take(driver: DatabaseClass, options: WriterOptions, { facts, realm, keysFile }: Found): OpenedStore {
    const host = this.#host;
    const { layout } = facts;
    const uuid = toHex(host.random(16));
    const undo: (() => void)[] = [];
    try {
      const marker = new LibraryMarker(
        host.files,
        { folder: layout.leases, uuid },
        { process: `${host.pid} ${host.processStart}`, library: options.driver.module },
      );
      undo.push(() => marker.close());
      const before = host.files.facts(layout.index);
      const db = openConnection(layout.index, {
        driver,
        durability: options.durability,
        platform: host.platform,
      });
      undo.push(() => db.close());
      checkCatalog(db);
      migrate(db);
      const durable = options.durability === 'full';
      const log = new RootLog(host.files, this.#provider, {
        path: layout.rootLog,
        storeId: fromHex(facts.storeId)!,
        durable,
      });
      undo.push(() => log.close());
      const catalog = new Catalog(db, {
        provider: this.#provider,
        log,
        clock: host.clock,
        keyOf: (shown) => realm.keyOf(shown),
        freeBytes: () => host.files.space(layout.root).freeBytes,
      });
      const volumes = new VolumeSet(catalog, {
        host,
        driver,
        provider: this.#provider,
        layout,
        storeId: facts.storeId,
        parameters: facts.parameters,
        durability: options.durability,
        lease: uuid,
      });
      undo.push(() => volumes.close());
      const recovery: RecoverContext = {
        volumes,
        provider: this.#provider,
        contents: new Contents(this.#provider, realm),
        host,
        layout,
        driver,
        lease: uuid,
        chunkBytes: facts.parameters.chunkBytes,
        quarantine: (volume, name) =>
          setAside(host.files, layout, { directory: volumes.directory(volume), name }),
      };
      let lease: Lease | undefined;
      const recovered = catalog.transaction((transaction) => {
        lease = this.#takeLease(transaction, driver, layout, uuid);
        undo.push(() => lease!.close());
        refuseWhileRebuilt(driver, host.files, { layout, opened: before });
        marker.confirm();
        if (keysFile !== undefined)
          mendKeyFiles(host.files, layout, { bytes: keysFile, provider: this.#provider });
        return recover(transaction, recovery);
      });
      removeCondemned(catalog, volumes);
      volumes.removeDropped();
      fillBallast(host.files, layout);
      const library = options.driver.module;
      const { storeId } = facts;
      const alternates = new Alternates({
        host,
        driver,
        library,
        provider: this.#provider,
        layout,
        storeId,
      });
      undo.push(() => alternates.close());
      const lending = new Lending(alternates);
      const committer = new Committer(catalog, volumes, {
        lease: uuid,
        quarantine: (row) => recovery.quarantine(row.volume, partNameOf(row)),
        lent: lending,
      });
      const opened = { wallMs: host.clock.now(), monotonicMs: host.clock.monotonic() };
      this.#parts = {
        realm,
        catalog,
        volumes,
        committer,
        recovery,
        lease: lease!,
        marker,
        opened,
        alternates,
        lending,
        library,
      };
      return { ...facts, lease: uuid, recovered };
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  #takeLease(transaction: Transaction, driver: DatabaseClass, layout: StoreLayout, uuid: string): Lease {
    const { files, pid } = this.#host;
    const lease = new Lease(driver, files, { folder: layout.leases, uuid });
    try {
      files.makeFolder(files.join(layout.temps, uuid));
      transaction.changed = true;
      transaction.catalog.db
        .prepare('INSERT INTO leases (uuid, pid, started, horizon) VALUES (?, ?, ?, NULL)')
        .run(uuid, pid, transaction.state.clockMs);
      return lease;
    } catch (error) {
      lease.close();
      throw error;
    }
  }

  #commit(operations: readonly Operation[]): unknown {
    const { realm, committer, catalog, lending } = this.#open;
    const results = committed(operations, { realm, rows: catalog.blobs }, (named) =>
      this.#write(() => {
        this.#recoverIfAhead();
        if (realm.state === 'plain') borrowFirst(catalog, lending, named);
        return unknownIsNotAbsent(committer.commit(named), lending);
      }),
    );
    return results.map((result) => ('error' in result ? { error: errorToData(result.error) } : result));
  }

  #onGroup<Result>(work: (context: MirrorContext) => Result): Result {
    const { catalog, volumes, recovery } = this.#open;
    const { provider, lease } = recovery;
    const quarantine = (row: BlobRow): void => recovery.quarantine(row.volume, partNameOf(row));
    return this.#write(() => {
      this.#recoverIfAhead();
      return work({ catalog, volumes, provider, lease, quarantine });
    });
  }

  #keyContext(): KeyContext {
    if (this.#poison !== undefined) throw this.#poison;
    return { ...this.#keyView(), catalog: this.#open.catalog };
  }

  #keyView(): KeyView {
    invariant(this.#found !== undefined, 'the commit thread was asked before it was opened');
    const { realm, facts } = this.#found;
    const { layout } = facts;
    return { host: this.#host, provider: this.#provider, layout, realm, catalog: this.#parts?.catalog };
  }

  #settle(request: SettleRequest): Promise<unknown> {
    // Of an epoch that is not known here: another process has turned it, or it was forged.
    if (request.damaged.some(({ unknown }) => unknown === true)) checkNewest(this.#keyView());
    const { catalog, recovery } = this.#open;
    return this.#settling.settle(request, { ...recovery, catalog, write: (work) => this.#write(work) });
  }

  /** A process died between its append to the root log and its COMMIT: what it left is dealt with before anything is appended. */
  #recoverIfAhead(): void {
    const { catalog, recovery } = this.#open;
    const position = catalog.state().log;
    if (!catalog.log.isAhead(position)) return;
    // Most often it is a living process between its append and its COMMIT: under the lock one sees which.
    catalog.transaction((transaction) => {
      if (catalog.log.isAhead(transaction.state.log)) recover(transaction, recovery);
    });
  }

  async #gc({ foreground, ...options }: GcRequest, context: CallContext): Promise<unknown> {
    if (this.#collecting) throw new StoreError('busy', 'a collection is running already');
    if (this.#poison !== undefined) throw this.#poison;
    this.#collecting = true;
    const { catalog, volumes, recovery, opened, library, alternates } = this.#open;
    const { layout } = recovery;
    try {
      // Room for the commits that make room.
      if (options.dryRun !== true) {
        removeIfThere(this.#host.files, layout.ballast);
        catalog.checkpoints.makeRoom();
      }
      return await collect(
        {
          catalog,
          volumes,
          host: this.#host,
          opened,
          way: new GivingWay(this.#host.clock, foreground),
          lease: recovery.lease,
          alternateTrouble: () => alternates.chain().find(({ problem }) => problem !== undefined)?.problem,
          borrowers: () =>
            Borrowers.open({
              host: this.#host,
              driver: recovery.driver,
              library,
              provider: this.#provider,
              layout,
            }),
          recover: () => void catalog.transaction((transaction) => recover(transaction, recovery)),
          signal: context.signal,
          onProgress: (progress) => context.progress(progress),
        },
        options,
      );
    } catch (error) {
      throw this.#judge(error, 'collecting');
    } finally {
      this.#collecting = false;
      if (this.#poison === undefined) this.#write(() => fillBallast(this.#host.files, layout));
    }
  }

  /** Runs a write; an I/O error ends all writing until the store is reopened, a full disk or a busy lock does not. */
  #write<Result>(work: () => Result): Result {
    if (this.#poison !== undefined) throw this.#poison;
    try {
      return work();
    } catch (error) {
      throw this.#judge(error, 'committing');
    }
  }

  #judge(error: unknown, doing: string): Error {
    if (!poisons(error)) return toStoreError(error, doing);
    const poison = writeError(error, doing);
    if (StoreError.is(poison, 'needs-reopen')) this.#setPoison(poison);
    return poison;
  }

  #setPoison(error: StoreError): void {
    this.#poison ??= error;
  }

  #close(): void {
    const parts = this.#parts;
    this.#parts = undefined;
    if (this.#found !== undefined) wipeKeys(this.#found.realm);
    if (parts === undefined) return;
    const failure = closeParts(parts, this.#host.files, this.#poison !== undefined);
    if (failure !== undefined) throw this.#judge(failure, 'closing');
  }
}
