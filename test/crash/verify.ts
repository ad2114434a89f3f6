// The verifier process: opens the store that a crash left behind and checks it against what the oracle expects.
//
// Started with a Subject as JSON argument and an IPC channel; answers every Question with an Answer, in any order asked.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { checkCatalog } from './catalog-check.ts';
import type { Expectation } from './oracle.ts';
import type { StoreUnderTest } from './store-under-test.ts';
import { encryption, loadSubject, rootValue, type Subject } from './subject.ts';

export interface Question {
  readonly number: number;
  readonly store: string;
  readonly expectation: Expectation;
  /** Also read everything through `get`, collect before the scrub, and check that every reference is what it should be. */
  readonly deep: boolean;
  readonly encrypted: boolean;
}
export interface Answer {
  readonly number: number;
  readonly problems: readonly string[];
  readonly ms: number;
}

interface Given {
  readonly openStore: (dir: string, options?: object) => Promise<StoreUnderTest>;
  /** Looks at the folder before the store is opened; answers problems. */
  readonly checkBefore: (store: string) => string[];
}

const short = (id: string): string => id.slice(0, 12);

async function check(given: Given, question: Question): Promise<string[]> {
  const problems: string[] = [];
  const { expectation } = question;
  mkdirSync(question.store, { recursive: true });
  problems.push(...given.checkBefore(question.store));
  let store: StoreUnderTest;
  try {
    store = await given.openStore(question.store, {
      threads: { count: 0 },
      ...(question.encrypted ? { encryption } : {}),
    });
  } catch (error) {
    problems.push(
      `${expectation.opened ? 'the store' : 'the half-created store'} does not open: ${text(error)}`,
    );
    return problems;
  }
  try {
    problems.push(...(await leftoverTemps(question.store, store)));
    if (question.deep) {
      await checkHeld(store, expectation, problems);
      await store.gc({ graceMs: 0 });
    }
    await checkThere(store, expectation, problems);
    // Reads every byte and compares it with its id, so one scrub is enough.
    await checkScrub(store, problems);
    if (question.deep) await checkReferences(store, expectation, problems);
  } catch (error) {
    problems.push(`the verification threw: ${text(error)}`);
  }
  try {
    await store.close();
  } catch (error) {
    problems.push(`close: ${text(error)}`);
  }
  return problems;
}

const text = (error: unknown): string =>
  error instanceof Error
    ? `${(error as { code?: string }).code ?? error.name}: ${error.message}`
    : String(error);

/** Files under tmp/, there and in volumes elsewhere, where a lease's own empty folder is all that may be. */
async function leftoverTemps(folder: string, store: StoreUnderTest): Promise<string[]> {
  const volumes = (await store.volumes?.list()) ?? [];
  return [folder, ...volumes.filter(({ kind }) => kind !== 'sqlite').map(({ path }) => path)]
    .map((place) => join(place, 'tmp'))
    .filter((temps) => existsSync(temps))
    .flatMap((temps) => readdirSync(temps, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => `leftover temp ${relative(dirname(folder), join(entry.parentPath, entry.name))}`);
}

/** What must be there, by id: why. */
async function wantedOf(
  store: StoreUnderTest,
  expectation: Expectation,
  problems: string[],
): Promise<Map<string, string>> {
  const wanted = new Map<string, string>();
  for (const r of expectation.references) if (r.holding === 'held') wanted.set(r.id, `held by ${r.owner}`);
  for (const root of expectation.roots) {
    const value = rootValue(await store.roots.get(root.name));
    if (!root.allowed.includes(value))
      problems.push(`root ${root.name} is ${value}, not ${root.allowed.join(' or ')}`);
    else if (value !== null) wanted.set(value, `root ${root.name}`);
  }
  return wanted;
}

/** All that must be there is listed. */
async function checkThere(
  store: StoreUnderTest,
  expectation: Expectation,
  problems: string[],
): Promise<void> {
  const wanted = await wantedOf(store, expectation, problems);
  for await (const { id } of store.list()) wanted.delete(id);
  for (const [id, why] of wanted) problems.push(`${short(id)} (${why}) is not there`);
}

/** All that must be there, and all else that is listed, is read, and is what its id says. */
async function checkHeld(store: StoreUnderTest, expectation: Expectation, problems: string[]): Promise<void> {
  const wanted = await wantedOf(store, expectation, problems);
  for await (const { id } of store.list()) if (!wanted.has(id)) wanted.set(id, 'listed');
  await Promise.all(
    [...wanted].map(async ([id, why]) => {
      try {
        const bytes = await store.get(id);
        if (bytes === undefined) problems.push(`${short(id)} (${why}) is lost`);
        else if (createHash('sha256').update(bytes).digest('hex') !== id)
          problems.push(`${short(id)} (${why}) has wrong bytes`);
      } catch (error) {
        problems.push(`${short(id)} (${why}) is unreadable: ${text(error)}`);
      }
    }),
  );
}

/** Nothing damaged, no reference count that differed from the recount, no catalog row with a bad checksum. */
async function checkScrub(store: StoreUnderTest, problems: string[]): Promise<void> {
  const report = await store.scrub();
  for (const damage of report.damaged.slice(0, 3)) problems.push(`scrub: damaged ${JSON.stringify(damage)}`);
  for (const key of ['recounted', 'badRows'] as const) {
    const count = report[key] ?? 0;
    if (count > 0) problems.push(`scrub: ${key} = ${count}`);
  }
}

/** Every acknowledged hold answers true when released, every acknowledged release false: asks by releasing them. */
async function checkReferences(
  store: StoreUnderTest,
  expectation: Expectation,
  problems: string[],
): Promise<void> {
  await Promise.all(
    expectation.references.map(async ({ owner, id, holding }) => {
      if (holding === 'unknown') return;
      const had = await store.release(id, owner);
      if (had && holding === 'free')
        problems.push(`${owner} holds ${short(id)} again after an acknowledged release`);
      if (!had && holding === 'held') problems.push(`${owner} lost its reference to ${short(id)}`);
    }),
  );
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined && process.send !== undefined) {
  const subject = JSON.parse(argument) as Subject;
  const given: Given = {
    openStore: await loadSubject(subject),
    checkBefore: subject.kind === 'engine' ? checkCatalog : () => [],
  };
  // Where a cache is kept at all: verifiers are killed, and then write none.
  flushCompileCache();
  process.on('message', (question: Question) => {
    const start = performance.now();
    void check(given, question).then((problems) => {
      const answer: Answer = { number: question.number, problems, ms: performance.now() - start };
      process.send!(answer);
    });
  });
}
