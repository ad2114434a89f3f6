/** A process that has the engine loaded and warm, and forks: each child carries out a workload from there, in a tenth of the time of a new one. */
//
// Started with what to load as JSON. Takes a line from stdin at a time, and answers each with a number: `{"plan":…}` with the child's
// process number, `{"kill":…}` with the wait status of that child, which it kills. It reads without an event loop, since children share it.
import { closeSync, mkdtempSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSubject, type Subject } from './subject.ts';
import { type Plan, carryOut } from './workload.ts';

export interface ZygoteArgument {
  readonly subject: Subject;
  /** The compiled forker.c. */
  readonly forker: string;
  /** There will be few children: their code may be slower. */
  readonly few: boolean;
}
export type ZygoteRequest = { readonly plan: Plan } | { readonly kill: number };

interface Forker {
  /** In the child minus its own number. */
  fork(): number;
  kill(child: number): number;
}

/** Where a child says why it ended by itself. */
export const troubleOf = (plan: Pick<Plan, 'ack'>): string => `${plan.ack}.trouble`;

type Open = Awaited<ReturnType<typeof loadSubject>>;

async function main({ subject, forker, few }: ZygoteArgument): Promise<void> {
  const addon = createRequire(import.meta.url)(forker) as Forker;
  const openStore = await loadSubject(subject);
  await warmUp(openStore, { subject, rounds: few ? [8, 4] : [40, 20] });
  // Said when all is ready.
  writeSync(1, '0\n');
  for (const line of linesOf(0)) {
    const request = JSON.parse(line) as ZygoteRequest;
    if ('kill' in request) {
      writeSync(1, `${addon.kill(request.kill)}\n`);
      continue;
    }
    const child = addon.fork();
    if (child < 0) return await beChild(openStore, request.plan, -child);
    writeSync(1, `${child}\n`);
  }
}

/** Never returns but by a signal: an ordinary end would wait for threads that a child does not have. */
async function beChild(openStore: Open, plan: Plan, pid: number): Promise<void> {
  const end = (error: unknown): void => {
    writeFileSync(troubleOf(plan), error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.kill(pid, 'SIGKILL');
  };
  process.on('uncaughtException', end).on('unhandledRejection', end);
  // Node remembers the number of the process that it was started as.
  Object.defineProperty(process, 'pid', { value: pid });
  closeSync(0);
  closeSync(1);
  await carryOut(openStore, plan).then(() => end('it came to its end'), end);
}

/** A bit of everything, so that children find it compiled. */
async function warmUp(openStore: Open, { subject, rounds }: Pick<Plan, 'subject' | 'rounds'>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-zygote-'));
  try {
    for (const [i, encrypted] of [false, subject.kind === 'engine'].entries()) {
      const plan: Plan = {
        subject,
        store: join(folder, `store-${i}`),
        ack: join(folder, 'ack'),
        scratch: folder,
        seed: i + 1,
        contentSeed: 1,
        owners: ['one'],
        roots: ['main'],
        rounds,
        lanes: 3,
        inline: true,
        leaveOpen: false,
        encrypted,
        rekeys: false,
        scale: subject.kind === 'engine' ? 16 : 1,
      };
      await carryOut(openStore, plan);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function* linesOf(fd: number): Generator<string> {
  const piece = new Uint8Array(65_536);
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    const end = text.indexOf('\n');
    if (end >= 0) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
      continue;
    }
    const count = readSync(fd, piece);
    if (count === 0) return;
    text += decoder.decode(piece.subarray(0, count), { stream: true });
  }
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) await main(JSON.parse(argument) as ZygoteArgument);
