/** Where a recorded run is cut: moments that are likely to show a loss, by a seed. */
import { type LossMode, lossModes } from './disk-model.ts';
import { seededRandom } from './random.ts';
import type { LogRecord } from './recorded-log.ts';

export interface CrashPoint {
  readonly number: number;
  /** How many records of the log came to pass. */
  readonly cut: number;
  readonly mode: LossMode;
}

/**
 * Most cuts come right after an acknowledgement, where a false one shows; some right after a blob's file was unlinked, where a row
 * that still names it shows; some right before a file that was changed in place is synced, where changes that are nothing
 * without each other show; the rest anywhere. In the order of the log.
 */
export function crashPoints(
  records: readonly LogRecord[],
  options: { readonly seed: number; readonly states: number },
): CrashPoint[] {
  const acks = records.flatMap((record, i) =>
    record.type === 'ack' && record.text.includes('"done"') ? [i + 1] : [],
  );
  const unlinks = records.flatMap((record, i) =>
    record.type === 'unlink' && record.path.includes('/blobs/') ? [i + 1] : [],
  );
  const inPlace = syncsInPlace(records);
  const points: CrashPoint[] = [];
  for (let number = 0; number < options.states; number++) {
    const random = seededRandom(options.seed, number);
    if (unlinks.length > 0 && random.chance(0.1)) {
      points.push({ number, cut: random.pick(unlinks), mode: random.pick(['everything', 'names']) });
      continue;
    }
    if (inPlace.length > 0 && random.chance(0.15)) {
      points.push({
        number,
        cut: random.pick(random.pick(inPlace)),
        mode: random.pick(['random', 'journal']),
      });
      continue;
    }
    const cut = acks.length > 0 && random.chance(0.6) ? random.pick(acks) : random.below(records.length + 1);
    points.push({ number, cut, mode: random.chance(0.4) ? 'random' : random.pick(lossModes) });
  }
  return points.sort((a, b) => a.cut - b.cut);
}

/**
 * By file, where it is about to be synced after several changes of bytes that were synced before: what is in the midst of being
 * changed in place, as a database is.
 */
function syncsInPlace(records: readonly LogRecord[]): number[][] {
  const files = new Map<bigint, { size: number; synced: number; changes: number; syncs: number[] }>();
  for (const [i, record] of records.entries()) {
    if (record.type !== 'write' && record.type !== 'truncate' && record.type !== 'fsync') continue;
    const file = files.get(record.inode) ?? { size: 0, synced: 0, changes: 0, syncs: [] };
    files.set(record.inode, file);
    if (record.type === 'fsync') {
      if (file.changes >= 2) file.syncs.push(i);
      file.synced = file.size;
      file.changes = 0;
    } else if (record.type === 'truncate') file.size = record.size;
    else {
      file.size = Math.max(file.size, record.at + record.data.length);
      if (record.at < file.synced) file.changes++;
    }
  }
  return [...files.values()].flatMap(({ syncs }) => (syncs.length > 0 ? [syncs] : []));
}

/** Which of them have their recovery cut: so many, spread over all. */
export function recoveryPoints(points: readonly CrashPoint[], count: number): ReadonlySet<number> {
  const step = Math.max(1, Math.floor(points.length / Math.max(1, count)));
  return new Set(
    points
      .filter((_, i) => i % step === step - 1)
      .slice(0, count)
      .map((p) => p.number),
  );
}
