// I/O errors: every call on files that scenarios make fails once, in each of five ways, for once or for good; then everything is judged.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StoreError, nodeHost, openStore, rebuildStore } from '../../engine/index.ts';
import type { OpenOptions, Store } from '../../engine/index.ts';
import { type Call, faultyHost } from '../world/faulty-host.ts';
import { noise } from '../engine/store-folder.ts';
import { Run, type Scenario, type Told, scenarios } from './io-scenarios.ts';

export const codes = ['EIO', 'ENOSPC', 'EDQUOT', 'EMFILE', 'EACCES'] as const;
const lasting = ['once', 'sticky'] as const;
const effects = ['none', 'half', 'whole'] as const;

export interface IoErrorsOptions {
  /** The first case of the seed's order; `runs` of them are played. All, in a slice each, is every case. */
  readonly from?: number;
  readonly runs: number;
  readonly seed: number;
  /** Only scenarios whose name has this in it. */
  readonly only?: string;
  /** With `of`: only every so manieth, for several at once. */
  readonly share?: number;
  readonly of?: number;
  readonly onRun?: (report: IoErrorsReport) => void;
}

export interface IoErrorsReport {
  runs: number;
  /** All there are. */
  cases: number;
  readonly scenarios: number;
  readonly losses: { readonly run: number; readonly what: string; readonly problem: string }[];
  seconds: number;
}

/** A scenario ready to be played again and again. */
interface Stage {
  readonly name: string;
  readonly scenario: Scenario;
  /** The store as it is before, and what was told of it; absent where the run makes it. */
  readonly pattern: string | undefined;
  readonly told: Told;
  readonly calls: number;
}

export async function runIoErrors(options: IoErrorsOptions): Promise<IoErrorsReport> {
  const base = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-io-errors-'));
  const started = performance.now();
  try {
    const wanted = Object.entries(scenarios).filter(([name]) => name.includes(options.only ?? ''));
    const stages: Stage[] = [];
    for (const [name, scenario] of wanted) stages.push(await prepare(base, name, scenario));
    const ways = codes.length * lasting.length;
    const cases = stages.reduce((sum, { calls }) => sum + calls * ways, 0);
    const report: IoErrorsReport = { runs: 0, cases, scenarios: stages.length, losses: [], seconds: 0 };
    const step = stride(cases, options.seed);
    const { from = 0, share = 0, of = 1 } = options;
    for (let run = from; run < Math.min(cases, from + options.runs); run++) {
      if (run % of !== share) continue;
      let left = Number((BigInt(run) * step + BigInt(options.seed)) % BigInt(cases));
      const stage = stages.find(({ calls }) => left < calls * ways || ((left -= calls * ways), false))!;
      const fault = {
        nth: 1 + Math.floor(left / ways),
        code: codes[left % codes.length]!,
        lasts: lasting[Math.floor(left / codes.length) % lasting.length]!,
        effect: effects[(run + left) % effects.length]!,
      };
      const folder = join(base, 'run');
      const { struck, problem } = await playCase(folder, stage, fault);
      rmSync(folder, { recursive: true, force: true });
      report.runs++;
      report.seconds = (performance.now() - started) / 1000;
      if (problem !== undefined) {
        const { nth, code, lasts, effect } = fault;
        const call =
          struck === undefined ? 'nothing' : `${struck.operation} ${struck.path.slice(folder.length)}`;
        const what = `${stage.name}: call ${nth}, ${code} ${lasts}, ${effect} of ${call}`;
        report.losses.push({ run, what, problem });
      }
      options.onRun?.(report);
    }
    return report;
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
}

/** Coprime to the number of cases, so that any slice of the order is spread over all scenarios and calls. */
function stride(cases: number, seed: number): bigint {
  const coprime = (a: number, b: number): boolean => (b === 0 ? a === 1 : coprime(b, a % b));
  let step = Math.floor(cases * 0.618) + (seed % 97);
  while (!coprime(step, cases)) step++;
  return BigInt(step);
}

const placeIn = (folder: string): { readonly path: string; readonly side: string } => ({
  path: join(folder, 'store'),
  side: join(folder, 'side'),
});

/** Makes what is there before, and counts the calls of a run in which nothing fails; that run must keep every promise. */
async function prepare(base: string, name: string, scenario: Scenario): Promise<Stage> {
  const folder = join(base, 'run');
  const place = placeIn(folder);
  mkdirSync(place.side, { recursive: true });
  const before = new Run(place, nodeHost({ inline: true }), scenario.options ?? {});
  let pattern: string | undefined;
  if (scenario.before !== undefined) {
    const store = await before.store(openStore);
    await scenario.before(before, store);
    if (before.told.errors.length > 0) throw new Error(`before "${name}": ${String(before.told.errors[0])}`);
    pattern = join(base, name.replaceAll(/\W+/g, '-'));
    if (scenario.killed === true) cpSync(folder, pattern, { recursive: true });
    await before.close();
    if (scenario.killed !== true) cpSync(folder, pattern, { recursive: true });
  }
  rmSync(folder, { recursive: true, force: true });
  const stage: Stage = { name, scenario, pattern, told: before.told, calls: 0 };
  const { calls, problem } = await playCase(folder, stage, undefined);
  rmSync(folder, { recursive: true, force: true });
  if (problem !== undefined) throw new Error(`"${name}" fails without any fault: ${problem}`);
  return { ...stage, calls };
}

interface CaseFault {
  readonly nth: number;
  readonly code: string;
  readonly lasts: 'once' | 'sticky';
  readonly effect: 'none' | 'half' | 'whole';
}

async function playCase(
  folder: string,
  stage: Stage,
  fault: CaseFault | undefined,
): Promise<{
  readonly calls: number;
  readonly struck: Call | undefined;
  readonly problem: string | undefined;
}> {
  const { scenario, pattern } = stage;
  const place = placeIn(folder);
  if (pattern === undefined) mkdirSync(place.side, { recursive: true });
  else cpSync(pattern, folder, { recursive: true });
  const host = faultyHost(nodeHost({ inline: true }));
  const run = new Run(place, host, scenario.options ?? {});
  for (const [id, bytes] of stage.told.held) run.told.held.set(id, bytes);
  for (const [name, may] of stage.told.roots) run.told.roots.set(name, may);
  if (fault !== undefined) host.arm(fault);
  const options = 'encryption' in (scenario.options ?? {}) || pattern === undefined ? {} : { mode: 'open' };
  await run.attempt(async () => {
    if (scenario.rebuild === true) return await scenario.work(run, undefined as never);
    const store = await run.store((path, given) =>
      openStore(path, { ...given, ...(options as OpenOptions) }),
    );
    await scenario.work(run, store);
  });
  await run.close();
  const struck = host.calls.find(({ outcome }) => outcome === 'injected');
  host.disarm();
  const calls = host.calls.length;
  try {
    if (fault === undefined && run.told.errors.length > 0) throw run.told.errors[0] as Error;
    await judge(place.path, run.told, scenario.options ?? {});
    return { calls, struck, problem: undefined };
  } catch (error) {
    const told = run.told.errors.map(String).join(' | ');
    const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { calls, struck, problem: `${problem}\n  told before: ${told}` };
  }
}

/** Every promise was kept: on a sound host everything told is found, and the store is whole. */
export async function judge(path: string, told: Told, options: OpenOptions): Promise<void> {
  const must = (kept: boolean, otherwise: string): void => {
    if (!kept) throw new Error(otherwise);
  };
  for (const error of told.errors)
    must(StoreError.is(error), `a plain error came out: ${String((error as Error).stack)}`);
  const store = await reopened(path, options);
  try {
    for (const [id, bytes] of told.held) {
      const got = await store.get(id);
      must(
        got !== undefined && Buffer.compare(got, bytes) === 0,
        `${bytes.length} bytes are not here, or wrong`,
      );
    }
    for (const [name, may] of told.roots)
      must(may.has(await store.roots.get(name)), `root ${name} is another`);
    const { damaged, recounted, badRows } = await store.scrub();
    must(damaged.length === 0, `a scrub finds damage: ${JSON.stringify(damaged)}`);
    must(recounted + badRows === 0, `a scrub recounts ${recounted} and finds ${badRows} bad rows`);
    const { blocked, held } = await store.gc({ graceMs: 0 });
    must(blocked === undefined && held === 0, `collection leaves ${held}: ${blocked}`);
    for (const [id, bytes] of told.held)
      must((await store.has(id)) && bytes.length > 0, 'collected, and held');
    await store.put(noise(50), { owner: 'after' });
    await store.put(noise(40_000), { owner: 'after' });
  } finally {
    await store.close();
  }
  for (const folder of ['tmp', 'leases'])
    must(readdirSync(join(path, folder)).length === 0, `something is left in ${folder}`);
}

/** A rebuild that was cut short is begun again. */
async function reopened(path: string, options: OpenOptions): Promise<Store> {
  const sound = { ...options, threads: { count: 0 } };
  try {
    return await openStore(path, sound);
  } catch (error) {
    if (!StoreError.is(error, 'needs-rebuild')) throw error;
    await rebuildStore(path, {
      threads: { count: 0 },
      ...(options.encryption && { encryption: options.encryption }),
    });
    return await openStore(path, sound);
  }
}
