/** One turn shared by several threads: whoever has it runs, all others stand still; seeded randomness says at each point who goes on. */

/** What a schedule costs at most; beyond it somebody waits for what never comes. */
const stepsMax = 400_000;
const hotter = 8;
const giveWayTicks = 40;
/** Places in the shared memory; process p's own begin at `own + p * ownWords`. */
const at = {
  random: 0,
  steps: 1,
  rate: 2,
  live: 3,
  stop: 4,
  switches: 5,
  failed: 6,
  clock: 7,
  first: 8,
  scripted: 12,
  own: 16,
} as const;
const ownWords = 4;
export const processesMax = 4;

export function sharedTurns(): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (at.own + processesMax * ownWords));
}

/** What each process was told it holds: a bit for each blob, and the blob of its root plus one. */
export interface Holding {
  blobs: number;
  root: number;
}

/** Where a schedule hands the turn on, by name and not by chance: when this process comes to a point with this in its name. */
export interface Cue {
  readonly me: number;
  readonly at: string;
  readonly to: number;
}

/** A process ran for longer than any schedule can need. */
export class Standstill extends Error {}

/** The turn as one thread sees it. */
export class Turns {
  readonly me: number;
  readonly #words: Int32Array;
  #trace: ((line: string) => void) | undefined;
  readonly #script: readonly Cue[];

  constructor(
    memory: SharedArrayBuffer,
    me: number,
    {
      trace,
      script = [],
    }: {
      readonly trace?: ((line: string) => void) | undefined;
      readonly script?: readonly Cue[] | undefined;
    } = {},
  ) {
    this.#words = new Int32Array(memory);
    this.me = me;
    this.#trace = trace;
    this.#script = script;
  }

  /** How many cues of the script have come. */
  get scripted(): number {
    return this.#words[at.scripted]!;
  }

  /** What the clock goes by: a point is one, to give way is many, since whoever does waits for time to pass. */
  get clock(): number {
    return this.#words[at.clock]!;
  }

  /** Points passed since the schedule began. */
  get steps(): number {
    return this.#words[at.steps]!;
  }

  /** Another number after each point, for whoever looks on. */
  get progress(): number {
    return this.#words[at.random]! ^ this.#words[at.steps]!;
  }

  get switches(): number {
    return this.#words[at.switches]!;
  }

  /** All others are done. */
  get alone(): boolean {
    return (this.#words[at.live]! & ~(1 << this.me)) === 0;
  }

  get stopped(): boolean {
    return this.#words[at.stop] === 1;
  }

  get failed(): boolean {
    return this.#words[at.failed] === 1;
  }

  fail(): void {
    this.#words[at.failed] = 1;
  }

  holding(p: number): Holding {
    const base = at.own + p * ownWords;
    const words = this.#words;
    return {
      get blobs() {
        return words[base]!;
      },
      set blobs(mask) {
        words[base] = mask;
      },
      get root() {
        return words[base + 1]!;
      },
      set root(blob) {
        words[base + 1] = blob;
      },
    };
  }

  /** Before anybody waits. */
  reset(): void {
    this.#words.fill(0);
  }

  /**
   * Begins a schedule; only the leader (process 0) may, while all others wait. `rate` is how many of 65,536 points hand the turn on:
   * 0 is none, and each process then runs until it is done.
   */
  begin(options: {
    readonly seed: number;
    readonly rate: number;
    readonly processes: number;
    /** By the script; only then it counts. */
    readonly scripted?: boolean;
  }): void {
    const words = this.#words;
    words[at.random] = options.seed | 0;
    words[at.steps] = 0;
    words[at.clock] = 0;
    words[at.switches] = 0;
    words[at.scripted] = options.scripted === true ? 0 : this.#script.length;
    words[at.rate] = options.rate;
    words[at.live] = (1 << options.processes) - 1;
  }

  /** Ends everything: whoever waits goes on, and sees that it is over. */
  stop(processes: number): void {
    this.#words[at.stop] = 1;
    for (let p = 0; p < processes; p++) if (p !== this.me) this.#give(p);
  }

  /** A place where another one may go on: before a call on the machine. `hot`: where races are lost, more often. */
  point(what: string, hot = false): void {
    const words = this.#words;
    if (words[at.live] === 0) return;
    words[at.clock]!++;
    if (++words[at.steps]! > stepsMax) throw new Standstill(`no end after ${stepsMax} steps, at ${what}`);
    this.#trace?.(`${words[at.steps]} ${this.me} ${what}`);
    const cued = this.#cued(what);
    if (cued !== undefined) {
      if (cued === this.me) return;
      words[at.switches]!++;
      this.#give(cued);
      this.wait();
      return;
    }
    if ((this.#random() & 0xffff) < words[at.rate]! * (hot ? hotter : 1)) this.#handOn();
  }

  /** Where this one gives way by itself: the more so, so that whoever it waits for comes to an end. */
  giveWay(what: string): void {
    this.point(what);
    this.#words[at.clock]! += giveWayTicks;
    if (this.#words[at.rate]! > 0 && (this.#random() & 1) === 0) this.#handOn();
  }

  /** It cannot go on before somebody else does. False when there is nobody. */
  blocked(what: string): boolean {
    if (++this.#words[at.steps]! > stepsMax)
      throw new Standstill(`no end after ${stepsMax} steps, at ${what}`);
    return this.#handOn();
  }

  /** Done with this schedule; waits for the next one. The leader goes on when everybody is done. */
  leave(): void {
    const words = this.#words;
    words[at.live]! &= ~(1 << this.me);
    const next = this.#cued('is done') ?? this.#other();
    this.#trace?.(`${words[at.steps]} ${this.me} is done`);
    if (next !== undefined) this.#give(next);
    else if (this.me === 0) return;
    else this.#give(0);
    this.wait();
  }

  wait(): void {
    const slot = at.first + this.me;
    while (Atomics.load(this.#words, slot) === 0) Atomics.wait(this.#words, slot, 0);
    Atomics.store(this.#words, slot, 0);
  }

  #handOn(): boolean {
    const next = this.#other();
    if (next === undefined) return false;
    this.#words[at.switches]!++;
    this.#give(next);
    this.wait();
    return true;
  }

  /** Whose turn it is from here by the script, where it says so. */
  #cued(what: string): number | undefined {
    const cue = this.#script[this.#words[at.scripted]!];
    if (cue === undefined || cue.me !== this.me || !what.includes(cue.at)) return undefined;
    this.#words[at.scripted]!++;
    return cue.to;
  }

  /** A random one of the others that are not done. */
  #other(): number | undefined {
    const live = this.#words[at.live]! & ~(1 << this.me);
    if (live === 0) return undefined;
    for (;;) {
      const p = this.#random() % processesMax;
      if ((live & (1 << p)) !== 0) return p;
    }
  }

  #give(p: number): void {
    Atomics.store(this.#words, at.first + p, 1);
    Atomics.notify(this.#words, at.first + p);
  }

  /** xorshift32, kept where all share it: only whoever has the turn draws. */
  #random(): number {
    let x = this.#words[at.random]! || 0x9e3779b9;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#words[at.random] = x;
    return x >>> 1;
  }
}

/** The turn of this thread: the driver is loaded by its module's name, and can be told in no other way. */
let ours: Turns | undefined;

export function useTurns(turns: Turns): void {
  ours = turns;
}

export function turnsHere(): Turns {
  if (ours === undefined) throw new Error('this thread takes no turns');
  return ours;
}
