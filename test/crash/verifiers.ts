// A few verifier processes that stay alive: a question costs a store open, not a process start.
import { fork, type ChildProcess } from 'node:child_process';
import type { Answer, Question } from './verify.ts';
import type { Subject } from './subject.ts';

export interface Verifiers {
  /** Never rejects: a verifier that dies or hangs is a problem of the store it looked at. */
  ask(question: Omit<Question, 'number'>): Promise<Answer>;
  close(): void;
}

// Long enough for a machine that has other things to do: a verdict must not hang on its load.
const patienceMs = 900_000;

export function startVerifiers(subject: Subject, count = 2): Verifiers {
  interface Verifier {
    child: ChildProcess;
    busy: boolean;
    stderr: string;
  }
  const start = (): Verifier => {
    const child = fork(new URL('./verify.ts', import.meta.url), [JSON.stringify(subject)], {
      // Buffers of whole stores come and go.
      execArgv: ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=64'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const verifier: Verifier = { child, busy: false, stderr: '' };
    child.stderr!.on(
      'data',
      (data: Buffer) => (verifier.stderr = (verifier.stderr + data.toString()).slice(-2000)),
    );
    return verifier;
  };
  const verifiers = Array.from({ length: count }, start);
  const waiting: ((index: number) => void)[] = [];
  let number = 0;

  const free = async (): Promise<number> => {
    const index = verifiers.findIndex((v) => !v.busy);
    if (index >= 0) {
      verifiers[index]!.busy = true;
      return index;
    }
    return new Promise((resolve) => waiting.push(resolve));
  };

  return {
    async ask(partial) {
      const index = await free();
      const verifier = verifiers[index]!;
      const question: Question = { ...partial, number: number++ };
      const answer = await new Promise<Answer>((resolve) => {
        const failed = (why: string): void => {
          end();
          verifier.child.kill('SIGKILL');
          verifiers[index] = { ...start(), busy: true };
          const problem = `the verifier ${why}${verifier.stderr === '' ? '' : `: ${verifier.stderr.trim()}`}`;
          resolve({ number: question.number, problems: [problem], ms: 0 });
        };
        const onMessage = (message: unknown): void => {
          if ((message as Answer).number !== question.number) return;
          end();
          resolve(message as Answer);
        };
        const onExit = (code: number | null, signal: string | null): void =>
          failed(`died with ${code ?? signal}`);
        const timer = setTimeout(() => failed(`gave no answer in ${patienceMs} ms`), patienceMs);
        const end = (): void => {
          clearTimeout(timer);
          verifier.child.off('message', onMessage);
          verifier.child.off('exit', onExit);
        };
        verifier.child.on('message', onMessage);
        verifier.child.on('exit', onExit);
        if (verifier.child.exitCode !== null) failed(`died with ${verifier.child.exitCode}`);
        else verifier.child.send(question);
      });
      const next = waiting.shift();
      if (next !== undefined) next(index);
      else verifiers[index]!.busy = false;
      return answer;
    },
    close() {
      for (const { child } of verifiers) {
        child.removeAllListeners();
        child.kill('SIGKILL');
      }
    },
  };
}
