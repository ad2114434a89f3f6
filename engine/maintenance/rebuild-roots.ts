/** The root log done again from its beginning, for a catalog that is being rebuilt: what it comes to, and where it cannot be read. */
import { prefixOf } from '../catalog/blob-rows.ts';
import { type LogPosition, logStart, recordsIn } from '../catalog/root-log.ts';
import { equalBytes, fromHex } from '../codec/bytes.ts';
import { decodeLogHead, logHeadBytes } from '../codec/root-record.ts';
import { systemCode } from '../errors.ts';
import type { OpenFile } from '../host.ts';
import { type RebuildContext, inSlices } from './rebuild-context.ts';

/** What has to be done so that the log can go on: nothing (whoever opens cuts off what cannot be read), a new head, a new log. */
export type LogRepair = 'none' | 'head' | 'new';

export interface ReplayedLog {
  readonly position: LogPosition;
  readonly repair: LogRepair;
  /** Why there may have been more; empty when there was not. */
  readonly gap: string;
}

/**
 * Everything up to the first record that does not follow from the one before it counts. What lies behind could not be told from the
 * records of another time; a copy of the file is kept. `remembered`: how far a catalog that was there had taken it in.
 */
export async function replayRoots(
  context: RebuildContext,
  remembered: LogPosition | undefined,
): Promise<ReplayedLog> {
  const file = openLog(context);
  if (file === undefined) return { position: logStart, repair: 'new', gap: 'roots.log is missing' };
  try {
    const { size } = file.facts();
    const head = new Uint8Array(logHeadBytes);
    file.read(head, 0);
    const mine = fromHex(context.superblock.storeId)!;
    const storeId = decodeLogHead(head);
    const foreign = storeId === undefined ? !equalBytes(head.subarray(8), mine) : !equalBytes(storeId, mine);
    if (foreign)
      return {
        position: logStart,
        repair: 'new',
        gap: 'roots.log is damaged at its head, or of another store',
      };
    let position = logStart;
    let clockMs = 0;
    await inSlices(
      context,
      recordsIn(file, context.provider, logStart),
      ({ catalog, state }, { entry, next }) => {
        const id = entry.id === undefined ? new Uint8Array(32) : fromHex(entry.id)!;
        const { sql } = catalog;
        const { name: shown } = entry;
        if (entry.change === 'set')
          sql
            .rows('INSERT OR REPLACE INTO work.roots (name, shown, id, prefix, time) VALUES (?, ?, ?, ?, ?)')
            .run(catalog.keyOf(shown), shown, id, prefixOf(id), entry.timeMs);
        else if (entry.change === 'borrow')
          sql.rows('INSERT OR REPLACE INTO work.borrowed (id, borrow) VALUES (?, ?)').run(id, shown);
        else if (entry.change === 'delete')
          sql.rows('DELETE FROM work.roots WHERE name = ?').run(catalog.keyOf(shown));
        else if (entry.change === 'retain')
          sql
            .rows('INSERT OR IGNORE INTO work.owners (name, id, shown, prefix) VALUES (?, ?, ?, ?)')
            .run(catalog.keyOf(shown), id, shown, prefixOf(id));
        else sql.rows('DELETE FROM work.owners WHERE name = ? AND id = ?').run(catalog.keyOf(shown), id);
        position = next;
        clockMs = Math.max(clockMs, entry.timeMs);
        state.clockMs = Math.max(state.clockMs, clockMs);
      },
    );
    const repair = storeId === undefined ? 'head' : 'none';
    const end = `record ${position.sequence}`;
    if (size > position.offset) {
      const gap = `roots.log cannot be read behind ${end} (byte ${position.offset} of ${size})`;
      return { position, repair, gap };
    }
    if (remembered !== undefined && remembered.sequence > position.sequence) {
      const gap = `roots.log ends with ${end}; the catalog that was there knew of record ${remembered.sequence}`;
      return { position, repair, gap };
    }
    return { position, repair, gap: storeId === undefined ? 'the head of roots.log is damaged' : '' };
  } finally {
    file.close();
  }
}

function openLog({ host, layout }: RebuildContext): OpenFile | undefined {
  try {
    return host.files.open(layout.rootLog, 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
