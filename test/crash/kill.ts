// The kill -9 campaign: several processes share one store, die at random moments, and nothing they acknowledged may be lost.
import { spawn, type ChildProcess } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createOracle, parseLines, type Expectation, type Oracle } from './oracle.ts';
import { seededRandom, type Random } from './random.ts';
import { freshFolder, workloadPath } from './recorded-run.ts';
import { engineSubject, type Subject } from './subject.ts';
import { startVerifiers, type Verifiers } from './verifiers.ts';
import type { Plan } from './workload.ts';

export interface KillOptions {
  readonly seed: number;
  /** Kill moments: of one process, or of all at once. */
  readonly kills: number;
  readonly subject?: Subject;
  readonly verifier?: Subject;
  readonly processes?: number;
  /** Kill moments between two verifications. */
  readonly killsPerRound?: number;
  /** Every store, or none; else half of them. */
  readonly encrypted?: boolean;
  /** Verifications before a new store is begun. */
  readonly roundsPerStore?: number;
  /** Keep the folder of a loss (default); not where a loss is what is wanted. */
  readonly keep?: boolean;
  readonly onRound?: (report: KillReport) => void;
}

export interface KillLoss {
  readonly kill: number;
  readonly problems: readonly string[];
  /** Where the store and the acknowledgements were kept, as they were before the verifier opened it. */
  readonly folder: string;
}
export interface KillReport {
  readonly seed: number;
  readonly kills: number;
  readonly verifications: number;
  readonly acknowledged: number;
  readonly losses: readonly KillLoss[];
  readonly seconds: number;
}

/** The decisions come from the seed; the exact moment of a kill does not repeat, so the folder is what a failure leaves. */
export async function runKill(options: KillOptions): Promise<KillReport> {
  const subject = options.subject ?? engineSubject;
  const work = freshFolder('kill');
  const verifiers = startVerifiers(options.verifier ?? subject, 1);
  const bench = new Bench(subject);
  try {
    return await new KillCampaign(options, { work, subject, verifiers, bench }).run();
  } finally {
    bench.close();
    verifiers.close();
    rmSync(work, { recursive: true, force: true });
  }
}

interface Worker {
  readonly child: ChildProcess;
  stderr: string;
  readonly ended: Promise<string>;
  running: boolean;
}

/** Keeps a started process in reserve, so that a killed one is replaced at once. */
class Bench {
  readonly #subject: Subject;
  #next: Promise<Worker> | undefined;
  readonly #all = new Set<ChildProcess>();

  constructor(subject: Subject) {
    this.#subject = subject;
  }

  async take(plan: Plan): Promise<Worker> {
    const worker = await (this.#next ?? this.#start());
    this.#next = this.#start();
    worker.child.stdin!.end(`${JSON.stringify(plan)}\n`);
    return worker;
  }

  #start(): Promise<Worker> {
    const child = spawn(process.execPath, [workloadPath, JSON.stringify(this.#subject)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#all.add(child);
    const ended = new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('close', (code, signal) => resolve(String(signal ?? code)));
    });
    const worker: Worker = { child, stderr: '', ended, running: true };
    child.stdin.on('error', () => undefined);
    child.stderr.on(
      'data',
      (data: Buffer) => (worker.stderr = (worker.stderr + data.toString()).slice(-2000)),
    );
    void ended.then(() => {
      worker.running = false;
      this.#all.delete(child);
    });
    return Promise.race([
      new Promise<Worker>((resolve) => child.stdout.once('data', () => resolve(worker))),
      ended.then(() => worker),
    ]);
  }

  close(): void {
    for (const child of this.#all) child.kill('SIGKILL');
  }
}

interface Ground {
  readonly work: string;
  readonly subject: Subject;
  readonly verifiers: Verifiers;
  readonly bench: Bench;
}

/** One process's place: its owner name, what its incarnations acknowledged, and the one that lives now. */
interface Seat {
  readonly name: string;
  oracle: Oracle;
  ack: string;
  worker: Worker | undefined;
}

/** The first line of a workload says that the store was opened. */
const wroteSomething = (path: string): boolean => existsSync(path) && statSync(path).size > 0;

class KillCampaign {
  readonly #options: KillOptions;
  readonly #ground: Ground;
  readonly #random: Random;
  readonly #losses: KillLoss[] = [];
  readonly #seats: Seat[];
  readonly #started = performance.now();
  #store = '';
  #encrypted = false;
  #scale: Plan['scale'] = 1;
  #inline = false;
  #grouped = false;
  #kills = 0;
  #births = 0;
  #verifications = 0;
  #acknowledged = 0;

  constructor(options: KillOptions, ground: Ground) {
    this.#options = options;
    this.#ground = ground;
    this.#random = seededRandom(options.seed, 2);
    this.#seats = Array.from({ length: options.processes ?? 3 }, (_, i) => ({
      name: `p${i}`,
      oracle: createOracle(),
      ack: '',
      worker: undefined,
    }));
  }

  async run(): Promise<KillReport> {
    const { kills, killsPerRound = 8, roundsPerStore = 4 } = this.#options;
    for (let number = 0; this.#kills < kills; number++) {
      await this.#newStore(number);
      for (let round = 0; round < roundsPerStore && this.#kills < kills; round++) {
        const target = Math.min(kills, this.#kills + killsPerRound);
        while (this.#kills < target - 1) await this.#killSome();
        await this.#pause();
        await this.#killAll();
        if (!(await this.#verify())) break;
        this.#options.onRound?.(this.report());
      }
    }
    return this.report();
  }

  report(): KillReport {
    const live = this.#seats.reduce((sum, seat) => sum + seat.oracle.acknowledged(), 0);
    return {
      seed: this.#options.seed,
      kills: this.#kills,
      verifications: this.#verifications,
      acknowledged: this.#acknowledged + live,
      losses: this.#losses,
      seconds: (performance.now() - this.#started) / 1000,
    };
  }

  /** Every second store is created by all processes at once; the other ones by one, while the rest waits. */
  async #newStore(number: number): Promise<void> {
    if (this.#store !== '') rmSync(this.#area, { recursive: true, force: true });
    const area = join(this.#ground.work, `store-${number}`);
    mkdirSync(join(area, 'scratch'), { recursive: true });
    mkdirSync(join(area, 'disk'));
    this.#store = join(area, 'disk', 'store');
    const mixed = this.#ground.subject.kind === 'engine' && (number % 4 === 1 || number % 4 === 2);
    this.#encrypted = this.#options.encrypted ?? mixed;
    // To start the threads is most of what a process costs that lives for a tenth of a second.
    this.#inline = number % 4 !== 3;
    this.#grouped = this.#ground.subject.kind === 'engine' && number % 4 >= 2;
    this.#scale = this.#ground.subject.kind === 'engine' && number % 4 !== 0 ? 16 : 1;
    for (const seat of this.#seats) {
      this.#acknowledged += seat.oracle.acknowledged();
      seat.oracle = createOracle();
      seat.worker = undefined;
    }
    if (number % 2 === 0) {
      const first = this.#seats[0]!;
      await this.#seatWorker(first);
      while (first.worker?.running === true && !wroteSomething(first.ack)) await sleep(5);
    }
  }

  async #seatWorker(seat: Seat): Promise<void> {
    const area = this.#area;
    const birth = this.#births++;
    seat.ack = join(area, `acks-${seat.name}-${birth}`);
    const plan: Plan = {
      subject: this.#ground.subject,
      store: this.#store,
      ack: seat.ack,
      scratch: join(area, 'scratch'),
      seed: this.#options.seed * 100_003 + birth,
      contentSeed: this.#options.seed,
      owners: [seat.name, `${seat.name}-too`],
      roots: [`${seat.name}/main`],
      rounds: [1_000_000_000],
      lanes: 3,
      inline: this.#inline,
      scale: this.#scale,
      leaveOpen: true,
      encrypted: this.#encrypted,
      rekeys: this.#encrypted && this.#seats.length === 1,
      left: seat.oracle.expectation(),
      // One of them changes the group: of two that do each would be refused for what the other one did.
      ...(this.#grouped && seat === this.#seats[0] ? { volumes: join(area, 'disk') } : {}),
    };
    seat.worker = await this.#ground.bench.take(plan);
  }

  async #pause(): Promise<void> {
    for (const seat of this.#seats) if (seat.worker === undefined) await this.#seatWorker(seat);
    await sleep(this.#random.pick([5, 20, 60, 120, 250]) * (0.5 + this.#random.next()));
  }

  async #killSome(): Promise<void> {
    await this.#pause();
    if (this.#random.chance(0.15)) return this.#killAll();
    await this.#end([this.#random.pick(this.#seats)]);
  }
  async #killAll(): Promise<void> {
    await this.#end(this.#seats);
  }

  async #end(seats: readonly Seat[]): Promise<void> {
    const died = seats.filter((seat) => seat.worker?.running === false);
    for (const seat of seats) seat.worker?.child.kill('SIGKILL');
    this.#kills++;
    for (const seat of seats) {
      const { worker } = seat;
      if (worker === undefined) continue;
      const how = await worker.ended;
      if (existsSync(seat.ack))
        for (const line of parseLines(readFileSync(seat.ack, 'utf8'))) seat.oracle.tell(line);
      seat.worker = undefined;
      if (died.includes(seat))
        seat.oracle.tell({ k: 'bad', what: `${seat.name} ended by itself with ${how}: ${worker.stderr}` });
    }
  }

  #expectation(): Expectation {
    const parts = this.#seats.map((seat) => seat.oracle.expectation());
    return {
      opened: parts.some((part) => part.opened),
      references: parts.flatMap((part) => part.references),
      roots: parts.flatMap((part) => part.roots),
      complaints: parts.flatMap((part) => part.complaints),
    };
  }

  get #area(): string {
    return join(this.#store, '..', '..');
  }

  /**
   * All processes are dead: keeps a copy while the disk is judged, because the check releases what it looks for, and further volumes are
   * found where they were added. False after a loss.
   */
  async #verify(): Promise<boolean> {
    const [disk, keep] = [join(this.#area, 'disk'), join(this.#area, 'disk-before')];
    cpSync(disk, keep, { recursive: true });
    const expectation = this.#expectation();
    const answer = await this.#ground.verifiers.ask({
      store: this.#store,
      expectation,
      deep: true,
      encrypted: this.#encrypted,
    });
    rmSync(disk, { recursive: true });
    renameSync(keep, disk);
    this.#verifications++;
    const problems = [...expectation.complaints, ...answer.problems];
    if (problems.length === 0) return true;
    let folder = '(not kept)';
    if (this.#options.keep !== false && this.#losses.length < 5) {
      folder = mkdtempSync(join(tmpdir(), `holdfast-killed-${this.#options.seed}-`));
      cpSync(this.#area, folder, { recursive: true });
      writeFileSync(join(folder, 'problems.json'), JSON.stringify({ problems, expectation }, null, 1));
    }
    this.#losses.push({ kill: this.#kills, problems, folder });
    return false;
  }
}
