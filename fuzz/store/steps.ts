/** The steps of a run: plain data that means the same whatever came before, so that any of them can be left out. */
import { type Random, randomOf } from '../random.ts';

/** `raw` puts a node's bytes as if they were nothing but bytes. */
export type Way = 'bytes' | 'path' | 'stream' | 'pieces' | 'raw';

export interface Put {
  readonly blob: number;
  readonly way: Way;
  readonly owner?: string;
}

/** Expectation of a compare-and-swap: nothing said, absent, what it is now, or another blob. */
export type Expect = 'any' | 'absent' | 'current' | number;

export type Step =
  | (Put & { readonly step: 'put'; readonly expectId?: 'right' | 'wrong' })
  /** Puts a node after all that it links to. */
  | { readonly step: 'tree'; readonly blob: number; readonly owner?: string }
  | { readonly step: 'burst'; readonly puts: readonly Put[] }
  /** Puts from both handles, reads, a scrub and a collection, all at once; then all is quiet, and collected again. */
  | {
      readonly step: 'storm';
      readonly puts: readonly (Put & { readonly owner: string })[];
      readonly reads: readonly number[];
    }
  | { readonly step: 'broken-put'; readonly blob: number }
  | { readonly step: 'retain' | 'release'; readonly blob: number; readonly owner: string }
  | { readonly step: 'set-root'; readonly name: string; readonly blob: number; readonly expect: Expect }
  | { readonly step: 'delete-root'; readonly name: string; readonly expect: Exclude<Expect, 'absent'> }
  | { readonly step: 'read'; readonly blob: number; readonly offset: number; readonly length: number }
  | { readonly step: 'gc'; readonly way: 'now' | 'dry' | 'later' }
  | { readonly step: 'damage'; readonly blob: number; readonly at: number }
  | { readonly step: 'session'; readonly change: 'begin' | 'end' }
  | { readonly step: 'look' | 'scrub' }
  | { readonly step: 'reopen' | 'second' }
  /** Of encrypted stores: a new epoch, everything sealed anew, a look without keys. */
  | { readonly step: 'rotate' | 'locked' }
  | { readonly step: 'reseal' };

/** A step, and which of the two handles of the store does it. */
export type Placed = Step & { readonly handle: 0 | 1 };

const owners = ['a', 'b', 'the third owner, ä'];
const names = ['main', 'other', 'x'.repeat(300)];
const ways: readonly Way[] = ['bytes', 'bytes', 'bytes', 'path', 'stream', 'pieces', 'raw'];

const weights: readonly (readonly [Step['step'], number])[] = [
  ['put', 30],
  ['tree', 6],
  ['burst', 5],
  ['storm', 3],
  ['broken-put', 2],
  ['retain', 8],
  ['release', 12],
  ['set-root', 8],
  ['delete-root', 4],
  ['read', 8],
  ['gc', 8],
  ['damage', 3],
  ['session', 2],
  ['look', 4],
  ['scrub', 2],
  ['reopen', 3],
  ['second', 2],
];
const weightSum = weights.reduce((sum, [, weight]) => sum + weight, 0);

/** The same steps, and some of an encrypted store among them. */
export function withKeySteps(seed: number, run: number, steps: readonly Placed[]): Placed[] {
  const random = randomOf(seed ^ 0x6b65_7973, run);
  return steps.flatMap((step): Placed[] => {
    if (!random.chance(0.12)) return [step];
    const handle = random.chance(0.25) ? 1 : 0;
    return [step, { step: random.pick(['rotate', 'reseal', 'reseal', 'locked']), handle }];
  });
}

export function makeSteps(seed: number, run: number, blobs: number): Placed[] {
  const random = randomOf(seed, run);
  // Few blobs meet themselves again more often.
  const among = random.pick([6, 16, blobs]);
  const first = random.below(blobs);
  const blob = (): number => (first + random.below(among)) % blobs;
  const count = 5 + random.below(60);
  return Array.from({ length: count }, () => ({
    ...makeStep(random, blob),
    handle: random.chance(0.25) ? 1 : 0,
  }));
}

function makeStep(random: Random, blob: () => number): Step {
  const step = pickStep(random);
  const owner = random.pick(owners);
  const name = random.pick(names);
  switch (step) {
    case 'put': {
      const expectId = random.pick([undefined, undefined, undefined, 'right', 'wrong'] as const);
      return { step, ...makePut(random, blob), ...(expectId === undefined ? {} : { expectId }) };
    }
    case 'tree':
      return { step, blob: blob(), ...(random.chance(0.4) ? { owner } : {}) };
    case 'burst':
      return { step, puts: Array.from({ length: 2 + random.below(12) }, () => makePut(random, blob)) };
    case 'storm': {
      const puts = Array.from({ length: 1 + random.below(10) }, () => ({
        ...makePut(random, blob),
        owner: random.pick(owners),
      }));
      return { step, puts, reads: Array.from({ length: random.below(6) }, blob) };
    }
    case 'broken-put':
      return { step, blob: blob() };
    case 'retain':
    case 'release':
      return { step, blob: blob(), owner };
    case 'set-root':
      return { step, name, blob: blob(), expect: random.pick(['any', 'any', 'absent', 'current', blob()]) };
    case 'delete-root':
      return { step, name, expect: random.pick(['any', 'any', 'current', blob()]) };
    case 'read':
      return {
        step,
        blob: blob(),
        offset: random.pick([0, 1, 4095, 4096, 10_000, 400_000]),
        length: random.pick([0, 1, 4096, 5000, 2 ** 40]),
      };
    case 'gc':
      return { step, way: random.pick(['now', 'now', 'now', 'dry', 'later']) };
    case 'damage':
      return { step, blob: blob(), at: random.below(2 ** 31) };
    case 'session':
      return { step, change: random.pick(['begin', 'end']) };
    case 'look':
    case 'scrub':
    case 'reopen':
    case 'second':
    case 'rotate':
    case 'reseal':
    case 'locked':
      return { step };
  }
}

function makePut(random: Random, blob: () => number): Put {
  const put = { blob: blob(), way: random.pick(ways) };
  return random.chance(0.4) ? { ...put, owner: random.pick(owners) } : put;
}

function pickStep(random: Random): Step['step'] {
  let left = random.below(weightSum);
  for (const [step, weight] of weights) {
    left -= weight;
    if (left < 0) return step;
  }
  throw new Error('the weights do not add up');
}
