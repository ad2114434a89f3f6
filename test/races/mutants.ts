/** Deliberately broken builds of the engine that only other processes notice: a simulator of races that does not catch them proves nothing. */
import { type Mutant, buildMutant } from '../crash/mutants.ts';
import { type RaceFailure, runRaces } from './run.ts';
import type { Schedule } from './steps.ts';
import type { World } from './brief.ts';
import type { Cue } from './turns.ts';

export interface RaceMutant extends Mutant {
  /** Steps of the processes that show it; without them those of the seeds do. */
  readonly work?: Schedule['work'];
  /** Who goes on when; without it chance says so. */
  readonly script?: readonly Cue[];
  /** What the store is; without it one kind after the other. */
  readonly world?: World;
}

const gc = 'engine/maintenance/gc.ts';
const committer = 'engine/commit/committer.ts';
const settle = 'engine/maintenance/settle-scrub.ts';

const borrow = 'engine/commit/borrow.ts';
/** The base has collected a blob after one tenant asked for it, and before that one says that it borrows it. */
export const lentTooLate = {
  world: 'borrowing',
  work: [
    [[{ step: 'put', blob: 0 }], [{ step: 'gc' }]],
    [[{ step: 'retain', blob: 0 }]],
    [[{ step: 'retain', blob: 0 }]],
  ],
  script: [
    { me: 0, at: 'step', to: 0 },
    { me: 0, at: 'step', to: 1 },
    { me: 1, at: 'BEGIN IMMEDIATE', to: 0 },
    { me: 0, at: 'is done', to: 1 },
    { me: 1, at: 'COMMIT', to: 1 },
    { me: 1, at: '', to: 2 },
    { me: 2, at: 'is done', to: 1 },
  ],
} as const satisfies Pick<RaceMutant, 'world' | 'work' | 'script'>;

export const raceMutants: readonly RaceMutant[] = [
  {
    name: 'collection decides before its transaction',
    patches: [
      {
        file: gc,
        find: '  readonly #sound = new Set<number>();',
        replace: '  readonly #sound = new Set<number>();\n  #seen = new Map<number, BlobRow | undefined>();',
      },
      {
        file: gc,
        find: '      const { deleted, freedBytes } = this;\n',
        replace:
          '      const { deleted, freedBytes } = this;\n      this.#seen = new Map(page.map((n) => [n, catalog.blobs.byNumber(n)]));\n',
      },
      {
        file: gc,
        find: 'const row = transaction.catalog.blobs.byNumber(page[at]!);',
        replace: 'const row = this.#seen.get(page[at]!);',
      },
      { file: gc, find: 'if (transaction.catalog.refs.any(row.n)) {', replace: 'if (row.refcount > 0) {' },
    ],
  },
  {
    name: 'collection knows no horizon',
    patches: [{ file: gc, find: ' && since.zero_gen! < limits.horizon', replace: '' }],
  },
  {
    name: 'a put that is a second one does not look again in its transaction',
    patches: [
      {
        file: committer,
        find: '    const afterwards: Afterwards = [];\n    const results',
        replace: `    const afterwards: Afterwards = [];
    const named = operations.flatMap((operation) => ('id' in operation ? [operation.id] : []));
    this.seen = new Map(named.map((id) => [id, this.#catalog.blobs.inspect(fromHex(id)!)]));
    const results`,
      },
      {
        file: committer,
        find: '  readonly #options: CommitterOptions;\n\n  constructor',
        replace:
          '  readonly #options: CommitterOptions;\n  seen: Map<string, ReturnType<Catalog["blobs"]["inspect"]>> = new Map();\n\n  constructor',
      },
      {
        file: committer,
        find: '      const found = this.#catalog.blobs.inspect(fromHex(id)!);\n      if (put.instead',
        replace: '      const found = this.seen.get(id);\n      if (put.instead',
      },
      {
        file: committer,
        find: '    const found = this.#catalog.blobs.inspect(fromHex(id)!);\n    return found !== undefined && this.#stands',
        replace: '    const found = this.seen.get(id);\n    return found !== undefined && this.#stands',
      },
    ],
  },
  {
    name: 'unlink before catalog',
    patches: [
      {
        file: 'engine/maintenance/placed.ts',
        find: "  transaction.catalog.sql\n    .rows('INSERT INTO tombstones",
        replace:
          "  volumes.directory(view.volume).delete(partNameOf(view));\n  transaction.catalog.sql\n    .rows('INSERT INTO tombstones",
      },
    ],
  },
  {
    name: 'a move removes the old file before its transaction',
    world: 'plain',
    work: [[[{ step: 'put-held', blob: 3 }], [{ step: 'move', turn: 2 }]], [[{ step: 'watch', blob: 3 }]]],
    patches: [
      {
        file: 'engine/maintenance/drain.ts',
        find: '  const moved = catalog.transaction((transaction) => {',
        replace:
          '  volumes.directory(move.from).delete({ ...move, incarnation: move.old });\n  const moved = catalog.transaction((transaction) => {',
      },
    ],
  },
  {
    name: 'a scrub believes what it saw before its transaction',
    world: 'mirrored',
    work: [[[{ step: 'put-held', blob: 3 }], [{ step: 'move', turn: 2 }]], [[{ step: 'scrub' }]]],
    patches: [
      {
        file: settle,
        find: 'request.damaged.filter((damage) => markCopy(transaction, damage))',
        replace: 'request.damaged.filter((damage) => [markCopy(transaction, damage)])',
      },
      {
        file: 'engine/content/findings.ts',
        find: "if ((mayHaveMoved(error) || unknown) && this.#left(row)) return 'judged';",
        replace: '',
      },
    ],
  },
  {
    name: 'the slower of two puts removes the file of the faster',
    patches: [
      {
        file: committer,
        find: 'this.#volumes.directory(put.volume).delete(put)',
        replace:
          'this.#volumes.directory(standing.volume).delete({ ...put, incarnation: standing.incarnation })',
      },
    ],
  },
  {
    name: 'whoever opens takes every lease for dead',
    patches: [
      {
        file: 'engine/maintenance/recover.ts',
        find: '.filter((uuid) => isDead(driver, host.files, { folder: layout.leases, uuid }))',
        replace: '',
      },
    ],
  },
  {
    name: 'collection does not ask who borrows',
    world: 'borrowing',
    patches: [{ file: gc, find: ' && !borrowers.isBorrowed(row.id)', replace: '' }],
  },
  {
    name: 'a reference to what another one borrows asks no lender',
    ...lentTooLate,
    patches: [
      {
        file: borrow,
        find: '  if (catalog.refs.any(row.n) || lent?.holds(row) === true) return;',
        replace: '  if (row.n >= 0) return;',
      },
    ],
  },
  {
    name: 'a borrow does not look again',
    ...lentTooLate,
    patches: [
      {
        file: borrow,
        find: 'own.filter(([id, { kind }]) => !alternates.stillLends(fromHex(id)!, kind))',
        replace: 'own.filter(() => false)',
      },
    ],
  },
];

export interface RaceVerdict {
  readonly failure: RaceFailure | undefined;
  readonly schedules: number;
}

/** Plays schedules on a broken build until a promise is broken. */
export async function huntRaceMutant(
  mutant: RaceMutant,
  options: { readonly from?: number; readonly schedules: number },
): Promise<RaceVerdict> {
  const copy = buildMutant(mutant);
  const { subject } = copy;
  try {
    if (subject.kind !== 'engine') throw new Error('a mutant is a build of the engine');
    const { failures, schedules } = await runRaces({
      from: options.from ?? 0,
      ...(mutant.work === undefined ? {} : { work: mutant.work, processes: mutant.work.length }),
      ...(mutant.script === undefined ? {} : { script: mutant.script }),
      ...(mutant.world === undefined ? {} : { world: mutant.world }),
      schedules: options.schedules,
      engine: subject.entry,
      stopAtFirst: true,
    });
    return { failure: failures[0], schedules };
  } finally {
    copy.remove();
  }
}
