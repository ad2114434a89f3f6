/** What the processes of one schedule do, from its seed: a few steps each, of kinds that are likely to meet. */
import { type Random, seededRandom } from '../crash/random.ts';

export type Step =
  | { readonly step: 'put' | 'put-held' | 'stream'; readonly blob: number }
  | { readonly step: 'retain' | 'release' | 'read' | 'watch' | 'turn'; readonly blob: number }
  | { readonly step: 'tree'; readonly blob: number }
  | { readonly step: 'root' | 'unroot' | 'give-back' | 'gc' | 'scrub' | 'compact' | 'reopen' | 'receive' }
  | { readonly step: 'move'; readonly turn: number };

export interface Schedule {
  readonly seed: number;
  /** By process. Steps that stand together are begun together. */
  readonly work: readonly (readonly (readonly Step[])[])[];
  /** How many of 65,536 points hand the turn on. */
  readonly rate: number;
}

export type Kind = Step['step'];

/** How often each kind comes, by what a schedule is about. */
const themes: Readonly<Record<string, Readonly<Partial<Record<Kind, number>>>>> = {
  holding: {
    put: 3,
    'put-held': 8,
    stream: 3,
    retain: 3,
    release: 8,
    read: 4,
    tree: 3,
    root: 2,
    unroot: 3,
    gc: 4,
  },
  collecting: {
    put: 4,
    'put-held': 5,
    tree: 5,
    release: 6,
    unroot: 2,
    gc: 8,
    read: 2,
    receive: 0.3,
    reopen: 0.3,
  },
  moving: { 'put-held': 5, read: 10, release: 4, gc: 3, stream: 2, move: 1, compact: 0.5, watch: 2 },
  scrubbing: { put: 3, 'put-held': 6, release: 6, gc: 4, scrub: 1.2, read: 2, stream: 3, move: 0.4 },
};
/** A scrub is dearer than all the others together. */
const often = ['holding', 'collecting', 'moving']
  .flatMap((theme) => [theme, theme, theme])
  .concat('scrubbing');
/** What a theme is not without. */
const always: Readonly<Record<string, Kind>> = { moving: 'move', scrubbing: 'scrub', collecting: 'gc' };
/** Of the universe, those that are files. */
export const files = [3, 4] as const;
const rates = [0.08, 0.03, 0.015, 0.007, 0.003];

export function makeSchedule(
  seed: number,
  options: {
    readonly processes: number;
    readonly blobs: number;
    /** False where the store has one volume of each kind: nothing could move, and to watch it would be time lost. */
    readonly movable: boolean;
    readonly work?: Schedule['work'] | undefined;
  },
): Schedule {
  const random = seededRandom(seed, 77);
  const rate = Math.round(65_536 * random.pick(rates));
  if (options.work !== undefined) return { seed, work: options.work, rate };
  const { processes } = options;
  const mover = random.below(processes);
  const theme = random.pick(options.movable ? often : often.filter((one) => one !== 'moving'));
  const moving = theme === 'moving';
  // The fewer blobs, the more often two meet; of those that are moved the files matter most.
  const from = moving && random.chance(0.7) ? files : Array.from({ length: options.blobs }, (_, n) => n);
  const few = Array.from({ length: 1 + random.below(3) }, () => random.pick(from));
  const blob = (): number => random.pick(few);
  const one = (kind: Kind): Step => {
    if (kind === 'move') return { step: kind, turn: random.below(9) };
    if (kind === 'tree') return { step: kind, blob: random.chance(0.5) ? options.blobs - 1 : blob() };
    return { step: kind, blob: blob() };
  };
  const work = Array.from({ length: processes }, (_, p) => {
    // A move takes longer than what others do meanwhile.
    const length = 1 + random.below(moving && p !== mover ? 9 : 4);
    return together(
      Array.from({ length }, () => one(weighted(random, themes[theme]!))),
      random,
    );
  });
  if (moving) {
    work[mover]!.unshift([one('put-held')]);
    work[(mover + 1) % processes]!.unshift([one('watch')]);
  }
  // What a scrub meets on the move.
  if (theme === 'scrubbing') work[mover]!.unshift([one('put-held')], [one('move')]);
  const kind = always[theme];
  if (kind !== undefined)
    work[moving ? mover : random.below(processes)]!.splice(moving ? 1 : 0, 0, [one(kind)]);
  // Two that empty each other's target both find no room, and say so.
  work.forEach((steps, p) => {
    const isMove = ({ step }: Step): boolean => step === 'move' && p !== mover;
    steps.forEach((group, i) => (steps[i] = group.map((step) => (isMove(step) ? { step: 'gc' } : step))));
  });
  // Of what everybody holds all the time nobody could lose anything.
  for (const steps of work) if (random.chance(moving ? 0.1 : 0.4)) steps.unshift([{ step: 'give-back' }]);
  return { seed, work, rate };
}

export function weighted(random: Random, weights: Readonly<Partial<Record<Kind, number>>>): Kind {
  const kinds = Object.entries(weights) as [Kind, number][];
  let left = random.next() * kinds.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [kind, weight] of kinds) if ((left -= weight) < 0) return kind;
  return 'gc';
}

/** Now and then two at once. */
function together(steps: readonly Step[], random: Random): Step[][] {
  const groups: Step[][] = [];
  for (const step of steps) {
    const last = groups.at(-1);
    if (last !== undefined && last.length === 1 && random.chance(0.25)) last.push(step);
    else groups.push([step]);
  }
  return groups;
}
