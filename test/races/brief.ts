/** Brief schedules: a step or two of two to four processes that meet on one or two blobs, so that a store is good for hundreds of them a second. */
import { type Random, seededRandom } from '../crash/random.ts';
import { type Kind, type Schedule, type Step, files, weighted } from './steps.ts';

/** What the store is that schedules play on. */
export type World = 'plain' | 'mirrored' | 'chunked' | 'borrowing';

const steps: Readonly<Partial<Record<Kind, number>>> = {
  turn: 10,
  put: 3,
  'put-held': 2,
  stream: 2,
  retain: 2,
  release: 2,
  read: 3,
  tree: 1.2,
  root: 1.5,
  unroot: 1.5,
  gc: 7,
  'give-back': 1,
  reopen: 0.15,
};
/** Dear ones, and those that need more than one volume of a kind. */
const moves: Readonly<Partial<Record<Kind, number>>> = {
  move: 0.6,
  compact: 0.3,
  scrub: 0.06,
  receive: 0.05,
};
const still: Readonly<Partial<Record<Kind, number>>> = { compact: 0.1, scrub: 0.06, receive: 0.05 };
/** The tenants of a base; what they borrow is the fewer steps away the less else there is. */
const lending: Readonly<Partial<Record<Kind, number>>> = {
  turn: 8,
  put: 1,
  retain: 4,
  root: 2,
  unroot: 2,
  read: 2,
  gc: 3,
  'give-back': 1,
};
const rates = [0.25, 0.12, 0.06, 0.03, 0.015];

export function makeBriefSchedule(
  seed: number,
  options: { readonly processes: number; readonly blobs: number; readonly world: World },
): Schedule {
  const { processes, world } = options;
  const random = seededRandom(seed, 78);
  const rate = Math.round(65_536 * random.pick(rates));
  const kinds = world === 'borrowing' ? lending : { ...steps, ...(world === 'chunked' ? still : moves) };
  const all = Array.from({ length: options.blobs }, (_, n) => n);
  const few = Array.from({ length: 1 + random.below(2) }, () =>
    random.pick(random.chance(0.4) ? files : all),
  );
  const acting = actors(random, { processes, world });
  const work = Array.from({ length: processes }, (_, p): Step[][] =>
    acting.includes(p)
      ? Array.from({ length: random.chance(0.55) ? 1 : 2 }, () => [
          stepOf(weighted(random, kinds), random, few),
        ])
      : [],
  );
  // Two that empty each other's target both find no room, and say so.
  let mover = -1;
  for (const [p, groups] of work.entries())
    for (const group of groups)
      group.forEach((step, i) => {
        if (step.step !== 'move') return;
        if (mover < 0) mover = p;
        if (mover !== p) group[i] = { step: 'gc' };
      });
  const movable = world === 'plain' || world === 'mirrored';
  const theme = world === 'borrowing' ? 1 : random.next();
  if (movable && theme < 0.04) meetMoved(work, acting, random);
  else if (theme < 0.26) meet(work, acting, { random, few });
  else if (world === 'borrowing' && random.chance(0.3)) meetLent(work, acting, { random, few });
  return { seed, work, rate };
}

/** What one reads, puts again, or has put for a session, while another one collects it. */
function meet(
  work: Step[][][],
  acting: readonly number[],
  { random, few }: { readonly random: Random; readonly few: readonly number[] },
): void {
  const blob = random.chance(0.3) ? 5 : few[0]!;
  const met = random.pick(['tree', 'tree', 'watch', 'watch', 'put-held', 'stream', 'retain'] as const);
  work.forEach((_, p) => {
    // What somebody else holds nobody collects.
    const before: Step[][] = random.chance(0.7) ? [[{ step: 'give-back' }]] : [];
    const there: Step[][] = random.chance(0.5) ? [[{ step: 'put', blob }]] : [];
    if (!acting.includes(p)) work[p] = before;
    else if (p === acting[0]) work[p] = [...before, [{ step: met, blob }]];
    else work[p] = [...before, ...there, [{ step: 'gc' }]];
  });
}

/** What one reads, puts again or gives back and collects, while another one moves it. */
function meetMoved(work: Step[][][], acting: readonly number[], random: Random): void {
  const blob = random.pick(files);
  for (const [i, p] of acting.entries()) {
    const met = random.pick(['watch', 'watch', 'stream', 'gc'] as const);
    if (i === 0) work[p] = [[{ step: 'put-held', blob }], [{ step: 'move', turn: random.below(6) }]];
    else
      work[p] = random.chance(0.5)
        ? [[{ step: 'turn', blob }], [{ step: met, blob }]]
        : [[{ step: met, blob }]];
  }
}

/** What the base has for nobody, and collects, while one of its tenants borrows it and another one refers to that. */
function meetLent(
  work: Step[][][],
  acting: readonly number[],
  { random, few }: { readonly random: Random; readonly few: readonly number[] },
): void {
  const blob = random.pick([...few, ...files]);
  work.forEach((_, p) => {
    const met = random.pick(['turn', 'put-held', 'put', 'retain'] as const);
    const before: Step[][] = random.chance(0.7) ? [[{ step: 'give-back' }]] : [];
    const collect: Step[] = [{ step: 'gc' }];
    if (p === 0) work[p] = [...before, [{ step: 'put', blob }], collect];
    else if (!acting.includes(p)) work[p] = before;
    else work[p] = [...before, ...(random.chance(0.7) ? [collect] : []), [{ step: met, blob }]];
  });
}

/** Mostly two; at most as many as there are. Of stores that borrow the base is one as often as not. */
function actors(
  random: Random,
  { processes, world }: { readonly processes: number; readonly world: World },
): number[] {
  const order = Array.from({ length: processes }, (_, p) => p);
  for (let i = processes - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const count = random.chance(world === 'borrowing' ? 0.4 : 0.75) ? 2 : processes;
  return order.slice(0, count);
}

function stepOf(kind: Kind, random: Random, few: readonly number[]): Step {
  if (kind === 'move') return { step: kind, turn: random.below(9) };
  return { step: kind, blob: random.pick(few) };
}
