// Deliberately broken builds of the engine: a durability test that does not catch them proves nothing.
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runPowerLoss, type PowerLoss } from './power-loss.ts';
import { freshFolder } from './recorded-run.ts';
import { engineSubject, type Subject } from './subject.ts';

/** A change of one source file; `find` must occur exactly once. */
export interface Patch {
  /** From the repository's root. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}
export interface Mutant {
  readonly name: string;
  /** Empty: not yet written for the present engine. */
  readonly patches: readonly Patch[];
  /** The seed of a workload in which many crash states show it; 1 where that is most of them. */
  readonly seed?: number;
}

const node = 'engine/hosts/node.ts';
const tombstone = "  transaction.catalog.sql\n    .rows('INSERT INTO tombstones";

export const mutants: readonly Mutant[] = [
  {
    name: 'no file fsync',
    patches: [{ file: node, find: 'fs.fsyncSync(this.#open());', replace: 'this.#open();' }],
  },
  {
    name: 'no folder fsync',
    patches: [{ file: node, find: 'fs.fsyncSync(fd);', replace: '' }],
  },
  {
    name: 'synchronous=NORMAL',
    // One in six of the states shows it with this seed and the next, none with most of the others.
    seed: 12,
    patches: ['engine/catalog/connection.ts', 'engine/volumes/sqlite.ts'].map((file) => ({
      file,
      find: "const synchronous = options.durability === 'full' ? 2 : 1;",
      replace: 'const synchronous = 1;',
    })),
  },
  {
    name: 'catalog before bytes',
    patches: [
      {
        file: 'engine/volumes/sqlite.ts',
        find: "    this.#db.exec('BEGIN IMMEDIATE');\n    try {\n      const locators",
        replace:
          "    if (this.#db.inTransaction) this.#db.exec('COMMIT');\n    this.#db.exec('BEGIN IMMEDIATE');\n    try {\n      const locators",
      },
      {
        file: 'engine/volumes/sqlite.ts',
        find: "    this.#db.exec('BEGIN IMMEDIATE');\n    try {\n      this.#db.prepare",
        replace:
          "    if (this.#db.inTransaction) this.#db.exec('COMMIT');\n    this.#db.exec('BEGIN IMMEDIATE');\n    try {\n      this.#db.prepare",
      },
      {
        file: 'engine/volumes/sqlite.ts',
        find: "      this.#db.exec('COMMIT');\n      return locators;",
        replace:
          "      setImmediate(() => this.#db.inTransaction && this.#db.exec('COMMIT'));\n      return locators;",
      },
    ],
  },
  {
    name: 'unlink before catalog',
    patches: [
      {
        file: 'engine/maintenance/placed.ts',
        find: tombstone,
        replace: `  volumes.directory(view.volume).delete(partNameOf(view));
${tombstone}`,
      },
    ],
  },
  {
    name: 'ack before commit',
    // One in seven of the states shows it with this seed, few or none with the first ones.
    seed: 12,
    patches: [
      {
        file: 'engine/catalog/catalog.ts',
        find: "    this.db.exec('BEGIN IMMEDIATE');",
        replace:
          "    if (this.db.inTransaction) this.db.exec('COMMIT');\n    this.db.exec('BEGIN IMMEDIATE');",
      },
      {
        file: 'engine/catalog/catalog.ts',
        find: "      this.db.exec('COMMIT');\n      return result;",
        replace:
          "      setImmediate(() => this.db.inTransaction && this.db.exec('COMMIT'));\n      return result;",
      },
      {
        file: 'engine/threads/closing.ts',
        find: '      });\n      catalog.checkpoints.truncate();',
        replace:
          "        });\n        if (catalog.db.inTransaction) catalog.db.exec('COMMIT');\n        catalog.checkpoints.truncate();",
      },
    ],
  },
  {
    name: 'the name of a new fan-out folder not synced',
    patches: [
      {
        file: 'engine/volumes/directory.ts',
        find: '    this.#files.syncFolder(this.root);\n',
        replace: '',
      },
    ],
  },
  {
    name: 'a moved file not synced',
    // The store of this seed is a group of volumes.
    seed: 2,
    patches: [
      {
        file: 'engine/content/mover.ts',
        find: 'place.directory.publish(copy, temp, name)',
        replace:
          'place.directory.publish(new Proxy(copy, { get: (file, key: keyof OpenFile) => key === "sync" ? () => undefined : (...args: []) => file[key](...args) }), temp, name)',
      },
    ],
  },
  {
    name: 'volumes without a journal on disk',
    patches: [
      {
        file: 'engine/volumes/sqlite.ts',
        find: "db.pragma('journal_mode = PERSIST')",
        replace: "db.pragma('journal_mode = MEMORY')",
      },
      {
        file: 'engine/volumes/sqlite.ts',
        find: "journal !== 'persist'",
        replace: "journal !== 'memory'",
      },
    ],
  },
];

const root = new URL('../../', import.meta.url).pathname;

export interface MutantCopy {
  readonly subject: Subject;
  remove(): void;
}

/** The text with the patch applied; throws when the sources have moved on and the mutant no longer fits. */
export function applyPatch(source: string, patch: Patch, name: string): string {
  const times = source.split(patch.find).length - 1;
  if (times !== 1)
    throw new Error(
      `the mutant "${name}" is stale: its text occurs ${times} times in ${patch.file}, it must occur once:\n${patch.find}`,
    );
  return source.replace(patch.find, () => patch.replace);
}

/** Copies the engine to a folder of its own and breaks the copy. */
export function buildMutant(mutant: Mutant): MutantCopy {
  const copy = freshFolder('mutant');
  cpSync(join(root, 'engine'), join(copy, 'engine'), { recursive: true });
  cpSync(join(root, 'package.json'), join(copy, 'package.json'));
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const remove = (): void => rmSync(copy, { recursive: true, force: true });
  try {
    for (const patch of mutant.patches) {
      const path = join(copy, patch.file);
      writeFileSync(path, applyPatch(readFileSync(path, 'utf8'), patch, mutant.name));
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { subject: { kind: 'engine', entry: join(copy, 'engine', 'index.ts') }, remove };
}

export interface MutantVerdict {
  readonly name: string;
  readonly caught: boolean;
  readonly states: number;
  readonly seed: number;
  /** The loss that gave it away. */
  readonly loss: PowerLoss | undefined;
}

/**
 * Runs the power-loss campaign on the broken build, with the sound build as verifier, until a crash state shows a loss. A
 * workload that fails without any crash does not count: then the mutant is refused by the engine, or does not run at all.
 */
export async function huntMutant(
  subject: Subject,
  given: {
    readonly name: string;
    readonly seed: number;
    readonly seeds: number;
    readonly states: number;
    readonly verifier?: Subject;
  },
): Promise<MutantVerdict> {
  let states = 0;
  let other: PowerLoss | undefined;
  for (let seed = given.seed; seed < given.seed + given.seeds; seed++) {
    const verifier = given.verifier ?? engineSubject;
    const report = await runPowerLoss({ seed, states: given.states, subject, verifier, stopAtFirst: true });
    states += report.states;
    const loss = report.losses.find((l) => l.state !== 'workload');
    if (loss !== undefined) return { name: given.name, caught: true, states, seed, loss };
    other ??= report.losses[0];
  }
  return { name: given.name, caught: false, states, seed: given.seed, loss: other };
}
