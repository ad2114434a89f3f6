// The power-loss campaign: records real workloads, replays them to many crash states and lets the verifiers judge each one.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CrashPoint, crashPoints, recoveryPoints } from './crash-points.ts';
import { inodesOf, lossModes, modelOfFolder, type Inodes } from './disk-model.ts';
import { createOracle, parseLines, type Expectation } from './oracle.ts';
import { seededRandom } from './random.ts';
import { buildRecorder, freshFolder, runRecorded } from './recorded-run.ts';
import { readRecordedLog, type LogRecord } from './recorded-log.ts';
import { engineSubject, type Subject } from './subject.ts';
import { startVerifiers, type Verifiers } from './verifiers.ts';
import type { Plan } from './workload.ts';

export interface PowerLossOptions {
  readonly seed: number;
  /** How many crash states of this seed's one workload to look at. */
  readonly states: number;
  /** What runs and is cut off. */
  readonly subject?: Subject;
  /** What opens the remains; the same code unless the subject is a broken copy. */
  readonly verifier?: Subject;
  /** Crash states whose recovery is itself recorded and cut. */
  readonly recoveries?: number;
  /** Cuts of each such recovery. */
  readonly recoveryCuts?: number;
  /** Operations before and after the reopening. */
  readonly rounds?: readonly number[];
  /** Stop at the first loss (the mutants need no more). */
  readonly stopAtFirst?: boolean;
  /** Replay this kept folder's log instead of running the workload again. */
  readonly replay?: string;
  /** Look at this one state alone. */
  readonly only?: number;
  /** Verifiers that outlive this seed, and are not ended with it; they must be of `verifier`. */
  readonly verifiers?: Verifiers;
}

export interface PowerLoss {
  readonly state: string;
  readonly cut: number;
  readonly mode: string;
  readonly problems: readonly string[];
  /** Where the log and the crash state were kept. */
  readonly folder: string;
}
export interface PowerLossReport {
  readonly seed: number;
  /** That were judged; no two of them are the same disk with the same expectation. */
  readonly states: number;
  /** That were the same as one judged before. */
  readonly repeated: number;
  readonly acknowledged: number;
  readonly calls: number;
  readonly losses: readonly PowerLoss[];
  /** Mean time of one store verification, and of the whole campaign per state. */
  readonly verifyMs: number;
  readonly stateMs: number;
}

/** Kept failures of one process; more would only fill the disk. */
let kept = 0;
const keptMax = 8;

/** Throws when there is no recorder; ask buildRecorder() first. */
export async function runPowerLoss(options: PowerLossOptions): Promise<PowerLossReport> {
  const recorder = buildRecorder();
  if ('missing' in recorder) throw new Error(recorder.missing);
  const { seed } = options;
  const subject = options.subject ?? engineSubject;
  const started = performance.now();
  const work = workFolder(options);
  const verifiers = options.verifiers ?? startVerifiers(options.verifier ?? subject);
  try {
    const disk = join(work, 'disk');
    mkdirSync(disk);
    // Half of the stores are made in a folder that was there before, half make their own.
    if (seed % 2 === 0) mkdirSync(join(disk, 'store'));
    const plan = planOf(options, work);
    const log = options.replay === undefined ? join(work, 'log') : join(options.replay, 'log');
    const inodes = options.replay === undefined ? inodesOf(disk) : keptInodes(options.replay);
    const model = modelOfFolder(disk, inodes);
    const ended =
      options.replay === undefined ? await runRecorded(plan, recorder, { prefix: disk, log }) : undefined;
    const records = readRecordedLog(log);
    const campaign = new Campaign(options, { work, log, inodes, records, verifiers });
    await campaign.run(model, plan, recorder);
    if (ended !== undefined && ended.code !== 0)
      campaign.workloadFailed(`the workload ended with ${ended.code}: ${ended.stderr}`);
    return campaign.report(performance.now() - started);
  } finally {
    if (options.verifiers === undefined) verifiers.close();
    rmSync(work, { recursive: true, force: true });
  }
}

/** A replay works where the recording was made: volumes are found by their paths. */
function workFolder({ replay }: PowerLossOptions): string {
  if (replay === undefined) return realpathSync(freshFolder('power-loss'));
  const work = readFileSync(join(replay, 'work'), 'utf8');
  mkdirSync(work);
  return work;
}

function planOf(options: PowerLossOptions, work: string): Plan {
  const { seed, subject = engineSubject } = options;
  mkdirSync(join(work, 'scratch'));
  return {
    subject,
    store: join(work, 'disk', 'store'),
    ack: join(work, 'acks'),
    scratch: join(work, 'scratch'),
    seed,
    contentSeed: seed,
    owners: ['ada', 'bob', 'cyd'],
    roots: ['main', 'other'],
    rounds: options.rounds ?? [110, 70],
    lanes: 1 + (seed % 6),
    scale: subject.kind === 'engine' && seed % 4 !== 0 ? 16 : 1,
    leaveOpen: seed % 3 === 0,
    encrypted: isEncrypted(options),
    rekeys: isEncrypted(options),
    ...(isGrouped(options) ? { volumes: join(work, 'disk') } : {}),
  };
}

/** Every second store of the engine is. */
function isEncrypted({ seed, subject = engineSubject }: PowerLossOptions): boolean {
  return subject.kind === 'engine' && seed % 2 === 0;
}

/** Half of the engine's stores have volumes that come and go, plain ones and encrypted ones. */
function isGrouped({ seed, subject = engineSubject }: PowerLossOptions): boolean {
  return subject.kind === 'engine' && seed % 4 >= 2;
}

function isDeep({ number }: { readonly number: number }): boolean {
  return number % 2 === 0;
}

function keptInodes(folder: string): Map<string, bigint> {
  const pairs = JSON.parse(readFileSync(join(folder, 'inodes.json'), 'utf8')) as [string, string][];
  return new Map(pairs.map(([path, inode]) => [path, BigInt(inode)]));
}

interface Ground {
  readonly work: string;
  readonly log: string;
  readonly inodes: Inodes;
  readonly records: readonly LogRecord[];
  readonly verifiers: Verifiers;
}

class Campaign {
  readonly #options: PowerLossOptions;
  readonly #ground: Ground;
  readonly #losses: PowerLoss[] = [];
  readonly #oracle = createOracle();
  /** What was judged already: a disk, what was expected of it, and how deep it was looked at. */
  readonly #judged = new Set<string>();
  #states = 0;
  #repeated = 0;
  #verifyMs = 0;

  constructor(options: PowerLossOptions, ground: Ground) {
    this.#options = options;
    this.#ground = ground;
  }

  async run(
    model: ReturnType<typeof modelOfFolder>,
    plan: Plan,
    recorder: { readonly path: string },
  ): Promise<void> {
    const { records, work } = this.#ground;
    const { only, seed } = this.#options;
    const points = crashPoints(records, this.#options).filter((p) => only === undefined || p.number === only);
    const recoveries = recoveryPoints(points, this.#options.recoveries ?? 0);
    const running = new Set<Promise<void>>();
    let applied = 0;
    for (const point of points) {
      if (this.#stopped()) break;
      while (applied < point.cut) this.#step(model, records[applied++]!);
      const folder = join(work, `state-${point.number}`);
      mkdirSync(folder);
      const digest = model.materialise(folder, point.mode, seededRandom(seed, 10_000 + point.number));
      const expectation = this.#oracle.expectation();
      if (this.#isRepeated({ digest, expectation, number: point.number })) {
        rmSync(folder, { recursive: true });
        continue;
      }
      if (recoveries.has(point.number))
        await this.#cutRecovery(point, folder, { expectation, plan, recorder });
      const name = `${point.number}`;
      const task = this.#verify(folder, expectation, { ...point, name }).finally(() => running.delete(task));
      running.add(task);
      while (running.size >= (isGrouped(this.#options) ? 1 : 4)) await Promise.race(running);
    }
    await Promise.all(running);
    if (only === undefined && !this.#stopped()) {
      while (applied < records.length) this.#step(model, records[applied++]!);
      this.workloadFailed(...this.#oracle.expectation().complaints);
    }
  }

  /** What went wrong before any crash; a loss of its own kind, whose state is called `workload`. */
  workloadFailed(...problems: string[]): void {
    if (problems.length === 0) return;
    this.#lose({ name: 'workload', cut: this.#ground.records.length, mode: 'none' }, problems, undefined);
  }

  #stopped(): boolean {
    return this.#options.stopAtFirst === true && this.#losses.length > 0;
  }

  #step(model: ReturnType<typeof modelOfFolder>, record: LogRecord): void {
    model.apply(record);
    if (record.type === 'ack') for (const line of parseLines(record.text)) this.#oracle.tell(line);
  }

  async #verify(
    folder: string,
    expectation: Expectation,
    point: { readonly name: string; readonly number: number; readonly cut: number; readonly mode: string },
  ): Promise<void> {
    const before = `${folder}-before`;
    if (this.#options.only !== undefined) cpSync(folder, before, { recursive: true });
    // Further volumes are found where they were added, so such states are looked at there, one at a time.
    const place = isGrouped(this.#options) ? this.#takePlace(folder) : folder;
    const store = join(place, 'store');
    const deep = isDeep(point);
    const answer = await this.#ground.verifiers.ask({
      encrypted: isEncrypted(this.#options),
      store,
      expectation: { ...expectation, complaints: [] },
      deep,
    });
    this.#states++;
    this.#verifyMs += answer.ms;
    if (answer.problems.length > 0) this.#lose(point, answer.problems, existsSync(before) ? before : place);
    rmSync(place, { recursive: true, force: true });
    rmSync(before, { recursive: true, force: true });
  }

  #isRepeated(state: {
    readonly digest: string;
    readonly expectation: Expectation;
    readonly number: number;
  }): boolean {
    const expected = createHash('sha256').update(JSON.stringify(state.expectation)).digest('hex');
    const key = `${state.digest} ${expected} ${isDeep(state)}`;
    if (this.#judged.has(key)) this.#repeated++;
    else {
      this.#judged.add(key);
      return false;
    }
    return true;
  }

  /** Puts a state where the workload had its disk. */
  #takePlace(folder: string): string {
    const place = join(this.#ground.work, 'disk');
    rmSync(place, { recursive: true, force: true });
    renameSync(folder, place);
    return place;
  }

  /** Lets recovery run on a copy of a crash state, recorded, and cuts that recording too. */
  async #cutRecovery(
    point: CrashPoint,
    folder: string,
    given: {
      readonly expectation: Expectation;
      readonly plan: Plan;
      readonly recorder: { readonly path: string };
    },
  ): Promise<void> {
    const { work } = this.#ground;
    const { seed, recoveryCuts = 8 } = this.#options;
    const area = join(work, `recovery-${point.number}`);
    mkdirSync(area);
    let disk = join(area, 'disk');
    cpSync(folder, disk, { recursive: true });
    if (isGrouped(this.#options)) disk = this.#takePlace(disk);
    const model = modelOfFolder(disk);
    const log = join(area, 'log');
    const plan: Plan = {
      ...given.plan,
      store: join(disk, 'store'),
      ack: join(area, 'acks'),
      rounds: [],
      leaveOpen: point.number % 2 === 0,
    };
    const run = await runRecorded(plan, given.recorder, { prefix: disk, log });
    const name = `${point.number}/recovery`;
    if (run.code !== 0) {
      this.#lose({ ...point, name }, [`recovery ended with ${run.code}: ${run.stderr}`], folder);
    } else {
      const records = readRecordedLog(log);
      const random = seededRandom(seed, 20_000 + point.number);
      const cuts = Array.from({ length: recoveryCuts }, () => random.below(records.length + 1)).sort(
        (a, b) => a - b,
      );
      let applied = 0;
      for (const [i, cut] of cuts.entries()) {
        while (applied < cut) model.apply(records[applied++]!);
        const state = join(work, `state-${point.number}-${i}`);
        mkdirSync(state);
        const mode = random.pick(lossModes);
        const digest = model.materialise(state, mode, seededRandom(seed, 30_000 + point.number * 100 + i));
        const { expectation } = given;
        if (this.#isRepeated({ digest, expectation, number: i })) rmSync(state, { recursive: true });
        else await this.#verify(state, expectation, { name: `${name}-${i}`, number: i, cut, mode });
      }
    }
    rmSync(area, { recursive: true, force: true });
  }

  #lose(
    point: { readonly name: string; readonly cut: number; readonly mode: string },
    problems: readonly string[],
    state: string | undefined,
  ): void {
    let folder = '(not kept, enough were)';
    if (kept < keptMax && this.#options.stopAtFirst !== true) {
      kept++;
      folder = mkdtempSync(join(tmpdir(), `holdfast-lost-${this.#options.seed}-`));
      cpSync(this.#ground.log, join(folder, 'log'));
      writeFileSync(join(folder, 'work'), this.#ground.work);
      writeFileSync(
        join(folder, 'inodes.json'),
        JSON.stringify([...this.#ground.inodes].map(([p, n]) => [p, String(n)])),
      );
      if (state !== undefined) cpSync(state, join(folder, 'state'), { recursive: true });
      writeFileSync(
        join(folder, 'problems.json'),
        JSON.stringify({ ...point, seed: this.#options.seed, problems }, null, 1),
      );
    }
    this.#losses.push({ state: point.name, cut: point.cut, mode: point.mode, problems, folder });
  }

  report(totalMs: number): PowerLossReport {
    const states = Math.max(1, this.#states);
    return {
      seed: this.#options.seed,
      states: this.#states,
      repeated: this.#repeated,
      acknowledged: this.#oracle.acknowledged(),
      calls: this.#ground.records.length,
      losses: this.#losses,
      verifyMs: this.#verifyMs / states,
      stateMs: totalMs / states,
    };
  }
}
