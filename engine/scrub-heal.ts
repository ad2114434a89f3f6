/** What a scrub does about damage in a mirrored group: damaged and lacking copies are made anew from good ones, within its time. */
import type { Damage, ScrubOptions, StoreEvents } from './api.ts';
import type { Crew } from './crew.ts';
import type { Host } from './host.ts';
import type { MirrorStart } from './maintenance/mirror.ts';
import { missingOf, resyncAll, resyncBlob } from './resync.ts';
import { type TimeBox, timeBox } from './time-box.ts';

export interface ScrubParts {
  readonly host: Host;
  readonly crew: Crew;
  readonly emit: <Name extends keyof StoreEvents>(name: Name, event: StoreEvents[Name]) => void;
}

/** Damage as it was found, and what the blob is called on disk. */
export interface NamedDamage extends Damage {
  readonly name: string;
}

export interface Healed {
  /** What is damaged still. */
  readonly damaged: readonly NamedDamage[];
  /** Copies made. */
  readonly healed: number;
  readonly missingCopies: number;
  /** Blobs of which all copies are away. */
  readonly unreachable: number;
  /** The time was over first. */
  readonly cut: boolean;
}

/** What lacks copies gets them before anything is read: a second copy is worth more than the knowledge that the first is good. */
export async function healLacking(
  { host, crew }: ScrubParts,
  { timeBoxMs, signal }: ScrubOptions,
): Promise<number> {
  if ((await lacking(crew)) === 0) return 0;
  // Half of the time: what cannot be completed, because members are away, must not keep the rest from being read.
  const half = timeBox(host.clock, timeBoxMs && timeBoxMs / 2, signal);
  try {
    return (await resyncAll(crew, {}, half))?.blobs ?? 0;
  } finally {
    half.end();
  }
}

/** After everything was read. */
export async function healAll(
  parts: ScrubParts,
  found: readonly NamedDamage[],
  box: TimeBox,
): Promise<Healed> {
  const done = await resyncAll(parts.crew, {}, box);
  if (done === undefined) return unmirrored(found);
  const damaged = await stillDamaged(parts, found);
  const missingCopies = done.cut ? await lacking(parts.crew) : missingOf(done);
  return { damaged, healed: done.blobs, missingCopies, unreachable: done.unreachable, cut: done.cut };
}

/** After a part was read: the blobs that were found, one by one. What the time does not suffice for, the next scrub begins with. */
export async function healFound(
  parts: ScrubParts,
  found: readonly NamedDamage[],
  box: TimeBox,
): Promise<Healed> {
  const { crew } = parts;
  const { mirrored } = await crew.commit<MirrorStart>('mirror-begin', 0);
  if (!mirrored) return unmirrored(found);
  let healed = 0;
  try {
    for (const id of new Set(found.map((damage) => damage.id)))
      healed += (await resyncBlob(crew, id, box.signal)).blobs;
  } catch (error) {
    if (!box.isOver()) throw error;
  }
  const missingCopies = await lacking(crew);
  const damaged = await stillDamaged(parts, found);
  return { damaged, healed, missingCopies, unreachable: 0, cut: box.isOver() };
}

function unmirrored(damaged: readonly NamedDamage[]): Healed {
  return { damaged, healed: 0, missingCopies: 0, unreachable: 0, cut: false };
}

/** Tells of those that are not. */
async function stillDamaged(
  { crew, emit }: ScrubParts,
  found: readonly NamedDamage[],
): Promise<NamedDamage[]> {
  const ids = [...new Set(found.map(({ id }) => id))];
  const left = new Set(await crew.commit<string[]>('mirror-damaged', ids));
  for (const id of ids) if (!left.has(id)) emit('healed', { id });
  // Once for each blob, also where all of its copies are bad.
  return found.filter(({ id }) => left.delete(id));
}

async function lacking(crew: Crew): Promise<number> {
  return await crew.work<number>('query', { name: 'lackingCopies', args: [] });
}
