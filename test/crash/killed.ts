/** Processes to be killed: children of one that is warm where this machine can fork it, else started one by one, the next one in reserve. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { compiled, workloadPath } from './recorded-run.ts';
import type { Subject } from './subject.ts';
import type { Plan } from './workload.ts';
import { type ZygoteArgument, type ZygoteRequest, troubleOf } from './zygote.ts';

export interface Killable {
  /** False when it is known to have ended by itself. */
  runs(): boolean;
  /** Kills it with SIGKILL; when it is gone, how it had ended by itself, undefined where it had not. */
  kill(): Promise<string | undefined>;
}

export class KillBench {
  readonly #subject: Subject;
  readonly #few: boolean;
  readonly #started = new Set<ChildProcess>();
  #next: Promise<Started> | undefined;
  #zygote: Zygote | undefined;
  #said = false;

  /** `few`: it is not worth much time to make them fast. */
  constructor(subject: Subject, { few }: { readonly few: boolean }) {
    this.#subject = subject;
    this.#few = few;
  }

  async take(plan: Plan): Promise<Killable> {
    // A child has no threads but its own one.
    const forker = plan.inline === true ? compiled('forker.c', 'forker.node') : { missing: 'threads' };
    if ('path' in forker)
      return (this.#zygote ??= new Zygote({
        subject: this.#subject,
        forker: forker.path,
        few: this.#few,
      })).child(plan);
    if (plan.inline === true && !this.#said) {
      this.#said = true;
      process.emitWarning(`no process can be forked, each takes ten times as long: ${forker.missing}`);
    }
    const started = await (this.#next ?? this.#start());
    this.#next = this.#start();
    started.child.stdin!.end(`${JSON.stringify(plan)}\n`);
    return started;
  }

  #start(): Promise<Started> {
    const child = spawn(process.execPath, [workloadPath, JSON.stringify(this.#subject)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#started.add(child);
    const started = new Started(child);
    void started.ended.then(() => this.#started.delete(child));
    return Promise.race([
      new Promise<Started>((resolve) => child.stdout.once('data', () => resolve(started))),
      started.ended.then(() => started),
    ]);
  }

  close(): void {
    for (const child of this.#started) child.kill('SIGKILL');
    this.#zygote?.close();
  }
}

class Started implements Killable {
  readonly child: ChildProcess;
  readonly ended: Promise<string>;
  #stderr = '';
  #runs = true;

  constructor(child: ChildProcess) {
    this.child = child;
    this.ended = new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('close', (code, signal) => resolve(String(signal ?? code)));
    });
    child.stdin!.on('error', () => undefined);
    child.stderr!.on(
      'data',
      (data: Buffer) => (this.#stderr = (this.#stderr + data.toString()).slice(-2000)),
    );
    void this.ended.then(() => (this.#runs = false));
  }

  runs(): boolean {
    return this.#runs;
  }

  async kill(): Promise<string | undefined> {
    const killed = this.#runs;
    this.child.kill('SIGKILL');
    const how = await this.ended;
    return killed ? undefined : `${how}: ${this.#stderr}`;
  }
}

const sigkill = 9;

class Zygote {
  readonly #process: ChildProcess;
  readonly #waiting: ((answer: number) => void)[] = [];
  readonly #ready: Promise<number>;
  #stderr = '';
  #closed = false;

  constructor(argument: ZygoteArgument) {
    const script = new URL('./zygote.ts', import.meta.url).pathname;
    const flags = ['--disable-warning=ExperimentalWarning', '--single-threaded', '--v8-pool-size=0'];
    this.#process = spawn(process.execPath, [...flags, script, JSON.stringify(argument)], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process.stdin!.on('error', () => undefined);
    this.#process.stderr!.on(
      'data',
      (data: Buffer) => (this.#stderr = (this.#stderr + data.toString()).slice(-2000)),
    );
    this.#ready = new Promise((resolve) => this.#waiting.push(resolve));
    createInterface({ input: this.#process.stdout! }).on('line', (line) =>
      this.#waiting.shift()?.(Number(line)),
    );
    // Whoever waits for its answer would wait for ever.
    this.#process.on('exit', (code, signal) => {
      if (!this.#closed) throw new Error(`the zygote ended with ${code ?? signal}: ${this.#stderr}`);
    });
  }

  async child(plan: Plan): Promise<Killable> {
    const child = await this.#ask({ plan });
    const trouble = troubleOf(plan);
    return {
      runs: () => !existsSync(trouble),
      kill: async () => {
        const status = await this.#ask({ kill: child });
        if (existsSync(trouble)) return readFileSync(trouble, 'utf8');
        return status === sigkill ? undefined : `wait status ${status}: ${this.#stderr}`;
      },
    };
  }

  async #ask(request: ZygoteRequest): Promise<number> {
    await this.#ready;
    return await new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    });
  }

  close(): void {
    this.#closed = true;
    this.#process.kill('SIGKILL');
  }
}
