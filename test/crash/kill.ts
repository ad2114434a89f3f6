// The kill -9 campaign: several processes share one store, die at random moments, and nothing they acknowledged may be lost.
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
import { KillBench, type Killable } from './killed.ts';
import { freshFolder } from './recorded-run.ts';
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
  const bench = new KillBench(subject, { few: options.kills < 12 });
  try {
    return await new KillCampaign(options, { work, subject, verifiers, bench }).run();
  } finally {
    bench.close();
    verifiers.close();
    rmSync(work, { recursive: true, force: true });
  }
}

interface Ground {
  readonly work: string;
  readonly subject: Subject;
  readonly verifiers: Verifiers;
  readonly bench: KillBench;
}

/** One process's place: its owner name, what its incarnations acknowledged, and the one that lives now. */
interface Seat {
  readonly name: string;
  oracle: Oracle;
  ack: string;
  worker: Killable | undefined;
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
        // However busy the machine is, there is something to judge.
        while (this.#seats.every(({ worker }) => worker?.runs() === true) && this.#told() <= this.#kills)
          await sleep(2);
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
    // Without threads of its own a process is forked; to start one with them takes ten times as long.
    this.#inline = number % 8 !== 7;
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
      while (first.worker?.runs() === true && !wroteSomething(first.ack)) await sleep(5);
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
    // Most have the store open when one dies, however busy the machine is; some die as they open it.
    if (this.#random.chance(0.7))
      for (const { worker, ack } of this.#seats)
        while (worker?.runs() === true && !wroteSomething(ack)) await sleep(2);
    await sleep(this.#random.pick([2, 5, 15, 40, 80]) * (0.5 + this.#random.next()));
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
    this.#kills++;
    const ends = await Promise.all(seats.map(async ({ worker }) => await worker?.kill()));
    for (const [i, seat] of seats.entries()) {
      if (seat.worker === undefined) continue;
      if (existsSync(seat.ack))
        for (const line of parseLines(readFileSync(seat.ack, 'utf8'))) seat.oracle.tell(line);
      seat.worker = undefined;
      if (ends[i] !== undefined)
        seat.oracle.tell({ k: 'bad', what: `${seat.name} ended by itself with ${ends[i]}` });
    }
  }

  /** What was acknowledged until now, also by those that live. */
  #told(): number {
    const live = this.#seats
      .flatMap(({ ack }) => (existsSync(ack) ? parseLines(readFileSync(ack, 'utf8')) : []))
      .filter(({ k }) => k === 'done').length;
    return this.report().acknowledged + live;
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
