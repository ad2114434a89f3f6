// What a store must hold, told from the workload's own lines alone: the judge outside the store.

/**
 * A line of the workload. `start` is written before the call, `done` after it resolved. A hold or a drop concerns one owner
 * and id, a root one name (`id` null deletes it). `fail`: the call rejected, its effect is unknown. `bad`: the workload itself
 * saw something wrong. `opened`: the store had been opened (and so created) for the first time.
 */
export type Line =
  | {
      readonly k: 'start' | 'done' | 'fail';
      readonly op: 'hold' | 'drop';
      readonly owner: string;
      readonly id: string;
      readonly why?: string;
    }
  | {
      readonly k: 'start' | 'done' | 'fail';
      readonly op: 'root';
      readonly name: string;
      readonly id: string | null;
      readonly why?: string;
    }
  | { readonly k: 'opened' }
  | { readonly k: 'end' }
  | { readonly k: 'bad'; readonly what: string };

export type Holding = 'held' | 'free' | 'unknown';

/** Plain data, so that it travels to the verifier in JSON. */
export interface Expectation {
  /** Whether the store had been created; before that an empty store is right, too. */
  readonly opened: boolean;
  readonly references: readonly { readonly owner: string; readonly id: string; readonly holding: Holding }[];
  /** The values each root may have; null is absent. */
  readonly roots: readonly { readonly name: string; readonly allowed: readonly (string | null)[] }[];
  /** What the workload itself complained about. */
  readonly complaints: readonly string[];
}

export interface Oracle {
  tell(line: Line): void;
  /** How many calls were acknowledged. */
  acknowledged(): number;
  expectation(): Expectation;
}

export function createOracle(): Oracle {
  const references = new Map<string, { owner: string; id: string; holding: Holding }>();
  const roots = new Map<string, (string | null)[]>();
  const complaints: string[] = [];
  let opened = false;
  let acknowledged = 0;

  const tell = (line: Line): void => {
    if (line.k === 'opened') opened = true;
    else if (line.k === 'bad') complaints.push(line.what);
    else if (line.k === 'end') return;
    else if (line.op === 'root') {
      const allowed = roots.get(line.name) ?? [null];
      if (line.k === 'done') roots.set(line.name, [line.id]);
      else if (!allowed.includes(line.id)) roots.set(line.name, [...allowed, line.id]);
    } else {
      const done: Holding = line.op === 'hold' ? 'held' : 'free';
      const key = `${line.owner} ${line.id}`;
      const known = references.get(key)?.holding ?? 'free';
      // starting to hold what is held, or to drop what is free, cannot change it
      const holding = line.k === 'done' || known === done ? done : 'unknown';
      references.set(key, { owner: line.owner, id: line.id, holding });
    }
    if (line.k === 'done') acknowledged++;
  };
  return {
    tell,
    acknowledged: () => acknowledged,
    expectation: () => ({
      opened,
      references: [...references.values()],
      roots: [...roots].map(([name, allowed]) => ({ name, allowed })),
      complaints: [...complaints],
    }),
  };
}

/** The whole lines of a file that may end in a torn one. */
export function parseLines(text: string): Line[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}
