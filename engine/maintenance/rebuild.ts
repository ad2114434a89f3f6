/** Makes a new catalog from volumes and root log alone; the old one, if there is any, is set aside. */
import type { RebuildResult } from '../api.ts';
import { Catalog, readState } from '../catalog/catalog.ts';
import { openConnection } from '../catalog/connection.ts';
import { type Gap, gapText, noGap, readGap, writeGap } from '../catalog/gap.ts';
import { LibraryMarker } from '../catalog/leases.ts';
import { RebuildLock } from '../catalog/rebuild-lock.ts';
import { type LogPosition, RootLog, createRootLog } from '../catalog/root-log.ts';
import { checkCatalog, migrate } from '../catalog/schema.ts';
import { storedForms } from '../catalog/blob-rows.ts';
import { Statements } from '../catalog/statements.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { removeFolderIfThere, removeIfThere } from '../commit/create.ts';
import { VolumeSet } from '../commit/volume-set.ts';
import { StoreError, systemCode } from '../errors.ts';
import { type RebuildContext, type RebuildTools, Report, attachWork } from './rebuild-context.ts';
import { finishRebuild } from './rebuild-finish.ts';
import { linkAll } from './rebuild-links.ts';
import { type Members, findMembers, registerMembers } from './rebuild-members.ts';
import { type ReplayedLog, replayRoots } from './rebuild-roots.ts';
import { VolumeDamaged, scanVolumes } from './rebuild-scan.ts';
import { salvageVolume } from './salvage-volume.ts';
import { recountDirectories } from './settle-scrub.ts';

/** What a catalog that was there still tells. */
interface Remembered {
  readonly log?: LogPosition;
  readonly clockMs: number;
  readonly gap: Gap;
}

/** Stands for a lease on the volumes that were there before, so that what is salvaged goes into fresh ones. */
const noLease = 'rebuild';

/**
 * In this order: the lock; every stored copy verified and entered in `rebuilt.db`; the root log done again; references and counts; then
 * files change their places (rebuild-finish.ts). Until then the store is as it was, but for records appended to new volumes. O(bytes
 * stored), a blob that is in chunks twice; memory for some MiB and the largest record.
 */
export async function rebuildCatalog(
  tools: RebuildTools,
  options: { readonly acceptGap: boolean; readonly library: string },
): Promise<RebuildResult> {
  const { host, driver, layout } = tools;
  const { files } = host;
  const start = host.clock.monotonic();
  for (const folder of [layout.blobs, layout.volumes, layout.temps, layout.leases, layout.quarantine])
    if (files.facts(folder) === undefined) files.makeFolder(folder);
  const lock = new RebuildLock(driver, files, layout);
  const uuid = toHex(host.random(16));
  const owner = { process: `${host.pid} ${host.processStart}`, library: options.library };
  let marker: LibraryMarker | undefined;
  try {
    marker = new LibraryMarker(files, { folder: layout.leases, uuid }, owner);
    const remembered = remember(tools);
    const condemned = new Set<string>();
    for (;;) {
      try {
        const built = await build(tools, { uuid, condemned, remembered, ...options });
        return { ...built, milliseconds: Math.round(host.clock.monotonic() - start) };
      } catch (error) {
        if (!(error instanceof VolumeDamaged) || condemned.has(error.volume)) throw error;
        condemned.add(error.volume); // once more, without SQLite
      }
    }
  } finally {
    try {
      marker?.close();
    } finally {
      lock.release();
    }
  }
}

/** `busy` while somebody reads the old catalog: readers have no lease. */
function remember({ host, driver, layout }: RebuildTools): Remembered {
  const nothing = { clockMs: 0, gap: noGap };
  if (host.files.facts(layout.index) === undefined) return nothing;
  let db;
  try {
    db = openConnection(layout.index, { driver, durability: 'full', platform: host.platform, busyMs: 0 });
    checkCatalog(db);
    const sql = new Statements(db);
    const { log, clockMs } = readState(sql);
    const gap = readGap(sql);
    db.pragma('journal_mode = DELETE');
    db.pragma('journal_mode = WAL');
    return { log, clockMs, gap };
  } catch (error) {
    if (systemCode(error)?.startsWith('SQLITE_BUSY') === true || StoreError.is(error, 'busy'))
      throw new StoreError('busy', 'the catalog is being read; close the store everywhere first', {}, error);
    if (StoreError.is(error, 'incompatible-format')) throw error;
    return nothing; // as damaged as it is lost
  } finally {
    db?.close();
  }
}

interface BuildOptions {
  readonly uuid: string;
  readonly condemned: ReadonlySet<string>;
  readonly remembered: Remembered;
  readonly acceptGap: boolean;
}

async function build(
  tools: RebuildTools,
  options: BuildOptions,
): Promise<Omit<RebuildResult, 'milliseconds'>> {
  const { files } = tools.host;
  const { layout } = tools;
  for (const end of ['', '-wal', '-shm']) removeIfThere(files, `${layout.rebuilt}${end}`);
  const temps = files.join(layout.temps, options.uuid);
  files.makeFolder(temps);
  try {
    const members = findMembers(tools, options.condemned);
    const context = makeContext(tools, temps, options.uuid);
    let filled: { readonly result: Omit<RebuildResult, 'milliseconds'>; readonly log: ReplayedLog };
    try {
      filled = await fill(context, members, options);
      context.volumes.close();
      context.catalog.db.exec('DETACH work');
      context.catalog.checkpoints.truncate();
    } finally {
      context.volumes.close();
      context.catalog.db.close();
      context.catalog.log.close();
    }
    finishRebuild(tools, { members, log: filled.log });
    return filled.result;
  } finally {
    removeFolderIfThere(files, temps);
    for (const end of ['', '-wal', '-shm']) removeIfThere(files, `${layout.rebuilt}${end}`);
  }
}

function makeContext(tools: RebuildTools, temps: string, lease: string): RebuildContext {
  const { host, driver, provider, layout, superblock, contents } = tools;
  const { storeId, parameters } = superblock;
  // Nothing is ever appended: what the log says is read, not written.
  const path = host.files.join(temps, 'roots.log');
  createRootLog(host.files, path, fromHex(storeId)!);
  const db = openConnection(layout.rebuilt, {
    driver,
    durability: 'full',
    platform: host.platform,
    create: true,
  });
  try {
    migrate(db);
    const log = new RootLog(host.files, provider, { path, storeId: fromHex(storeId)!, durable: true });
    const catalog = new Catalog(db, {
      provider,
      log,
      clock: host.clock,
      keyOf: (shown) => contents.realm.keyOf(shown),
      freeBytes: () => host.files.space(layout.root).freeBytes,
    });
    attachWork(catalog, host.files.join(temps, 'work.db'));
    const volumes = new VolumeSet(catalog, {
      host,
      driver,
      provider,
      layout,
      storeId,
      parameters,
      durability: 'full',
      lease,
    });
    return { ...tools, catalog, volumes, report: new Report() };
  } catch (error) {
    db.close();
    throw error;
  }
}

async function fill(
  context: RebuildContext,
  members: Members,
  { remembered, acceptGap }: BuildOptions,
): Promise<{ readonly result: Omit<RebuildResult, 'milliseconds'>; readonly log: ReplayedLog }> {
  const { catalog, volumes, report, superblock } = context;
  const { volumeBytesMax } = superblock.parameters;
  catalog.transaction((transaction) => {
    transaction.state.clockMs = Math.max(transaction.state.clockMs, remembered.clockMs);
    registerMembers(transaction, members, { volumeBytesMax, lease: noLease });
  });
  noteMissing(context, members);
  await scanVolumes(context);
  for (const volume of members.files) {
    if (volume.damage === undefined) continue;
    report.damage({ volume: volume.id, name: volume.path, reason: volume.damage });
    if (volume.foreign !== true) await salvageVolume(context, volume);
  }
  const log = await replayRoots(context, remembered.log);
  const { chunked } = await linkAll(context);
  recountDirectories(catalog, volumes);
  if (report.lostBlobs > 0) report.missing.push(...report.absent);
  const lost =
    report.lostBlobs === 0 ? '' : `${report.lostBlobs} blob(s) that are referred to were not found`;
  const gap = { log: log.gap === '' ? remembered.gap.log : log.gap, lost };
  catalog.transaction((transaction) => {
    transaction.changed = true;
    transaction.state.log = log.position;
    catalog.sql.rows('UPDATE volumes SET lease = NULL').run();
    if (!acceptGap && gapText(gap) !== '') writeGap(catalog.sql, gap);
  });
  return { result: { ...totals(context), chunked, ...(log.gap === '' ? {} : { gap: log.gap }) }, log };
}

function noteMissing({ report, layout, host }: RebuildContext, members: Members): void {
  const { group, places, files } = members;
  const away = new Map(places.filter(({ label }) => label === undefined).map(({ id, path }) => [id, path]));
  for (const [volume, path] of away) report.missing.push({ volume, path });
  const there = new Set(files.map(({ id }) => id));
  const paths = new Map(places.map(({ id, path }) => [id, path]));
  for (const { id, kind, folder } of group.volumes) {
    if (kind !== 'sqlite' || there.has(id)) continue;
    const path = host.files.join(paths.get(folder ?? '') ?? layout.volumes, `${id}.db`);
    (folder !== undefined && away.has(folder) ? report.missing : report.absent).push({ volume: id, path });
  }
}

function totals({
  catalog,
  report,
}: RebuildContext): Omit<RebuildResult, 'milliseconds' | 'chunked' | 'gap'> {
  const [blobs, nodes, bytes] = catalog.sql
    .arrays(
      'SELECT count(*), coalesce(sum(kind), 0), coalesce(sum(iif(codec >= ?, 0, size)), 0) FROM main.blobs',
    )
    .get(storedForms.chunked) as [number, number, number];
  const count = (table: string): number =>
    catalog.sql.values(`SELECT count(*) FROM ${table}`).get() as number;
  const { salvaged, damaged, damagedCopies, missing, lost, lostBlobs } = report;
  return {
    blobs: blobs - lostBlobs,
    nodes,
    bytes,
    roots: count('main.roots'),
    owners: count('work.owners'),
    salvaged,
    damaged,
    damagedCopies,
    missing,
    lost,
    lostBlobs,
  };
}
