/** Which bytes have to move so that all places are about equally full: a plan that can be looked at before anything moves. */
import { type VolumeRow, ownFolder } from '../catalog/group.ts';
import { sharingCap } from '../commit/companion.ts';
import type { VolumeSet } from '../commit/volume-set.ts';

export interface Fill {
  readonly n: number;
  readonly used: number;
  /** What it could hold: its cap, or what it holds and what is free on its disk. */
  readonly capacity: number;
}

export interface PlannedMove {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** Below this share of the smaller place's capacity a difference is left alone. */
const tolerance = 0.02;

/** From the fullest over the common level to the emptiest below it. O(places²). */
export function planRebalance(places: readonly Fill[]): PlannedMove[] {
  const capacity = places.reduce((sum, place) => sum + place.capacity, 0);
  const level = places.reduce((sum, place) => sum + place.used, 0) / Math.max(1, capacity);
  const over = places
    .map((place) => ({ ...place, left: place.used - level * place.capacity }))
    .filter(({ left, capacity: own }) => left > tolerance * own);
  const under = places
    .map((place) => ({ ...place, left: level * place.capacity - place.used }))
    .filter(({ left }) => left > 0);
  const moves: PlannedMove[] = [];
  for (const from of over.toSorted((a, b) => b.left - a.left)) {
    for (const to of under.toSorted((a, b) => b.left - a.left)) {
      const bytes = Math.floor(Math.min(from.left, to.left));
      if (bytes <= 0) continue;
      from.left -= bytes;
      to.left -= bytes;
      moves.push({ from: from.n, to: to.n, bytes });
    }
  }
  return moves;
}

/** Files one by one between directories; SQLite volumes as wholes between folders, where a whole one fits the difference. */
export function planGroup(volumes: VolumeSet): {
  readonly files: readonly PlannedMove[];
  readonly volumes: readonly { readonly from: string; readonly to: string }[];
} {
  const rows = volumes.rows().filter((row) => row.state !== 'draining' && volumes.usable(row));
  const directories = rows
    .filter(({ kind }) => kind === 'directory')
    .map((row) => fillOf(volumes, row, rows));
  const folders = [undefined, ...rows.filter(({ kind }) => kind === 'folder')].map((row) => {
    return row === undefined ? ownFill(volumes, bytesIn(rows, null)) : fillOf(volumes, row, rows);
  });
  const whole = planRebalance(folders).flatMap((move) => {
    let left = move.bytes;
    const within = rows.filter(
      (row) => row.kind === 'sqlite' && row.state === 'sealed' && (row.folder ?? ownFolder) === move.from,
    );
    const to = move.to === ownFolder ? 'volumes' : rows.find(({ n }) => n === move.to)!.id;
    const beside = rows.filter((row) => row.kind === 'sqlite' && (row.folder ?? ownFolder) === move.to);
    return within.flatMap((row) => {
      if (row.bytes > left || sharesBlobs(volumes, row, beside)) return [];
      left -= row.bytes;
      return [{ from: row.id, to }];
    });
  });
  return { files: planRebalance(directories), volumes: whole };
}

/** Whether a blob of this volume has another copy in one of those: then it cannot go there. */
function sharesBlobs({ catalog }: VolumeSet, row: VolumeRow, others: readonly VolumeRow[]): boolean {
  return (
    catalog.sql
      .values(
        `WITH here(n) AS (SELECT n FROM blobs WHERE volume = ? UNION ALL SELECT blob FROM copies WHERE volume = ?),
           beside(volume) AS (SELECT value FROM json_each(?))
         SELECT 1 FROM here
         WHERE EXISTS (SELECT 1 FROM copies WHERE blob = here.n AND volume IN beside)
           OR EXISTS (SELECT 1 FROM blobs AS b WHERE b.n = here.n AND b.volume IN beside) LIMIT 1`,
      )
      .get(row.n, row.n, JSON.stringify(others.map(({ n }) => n))) !== undefined
  );
}

function bytesIn(rows: readonly VolumeRow[], folder: number | null): number {
  return rows
    .filter((row) => row.kind === 'sqlite' && row.folder === folder)
    .reduce((sum, row) => sum + row.bytes, 0);
}

function fillOf(volumes: VolumeSet, row: VolumeRow, rows: readonly VolumeRow[]): Fill {
  const { freeBytes } = volumes.options.host.files.space(volumes.place(row).folder);
  const usedBy = (member: VolumeRow): number =>
    member.kind === 'directory' ? member.bytes : bytesIn(rows, member.n);
  const used = usedBy(row);
  const beside = sharingCap(volumes, row).reduce((sum, member) => sum + usedBy(member), 0);
  const capacity = Math.min((row.cap ?? Number.POSITIVE_INFINITY) - beside, used + freeBytes);
  return { n: row.n, used, capacity };
}

function ownFill({ options }: VolumeSet, used: number): Fill {
  const { freeBytes } = options.host.files.space(options.layout.volumes);
  return { n: ownFolder, used, capacity: used + freeBytes };
}
