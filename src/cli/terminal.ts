/** Asks for passphrases on a terminal, without showing what is typed. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { Stopped, UsageError } from './exit.ts';
import type { Output } from './output.ts';

export interface Asking {
  readonly output: Output;
  readonly signal: AbortSignal;
  /** Where it is typed; default stdin. */
  readonly input?: ReadStream;
}

/** Whether somebody is there to be asked. */
export function isTerminal(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** The answer to each question, in order. Questions go to stderr. Ctrl-C stops the command, Ctrl-D gives up. */
export async function askHidden(questions: readonly string[], asking: Asking): Promise<string[]> {
  const { output, signal, input = process.stdin } = asking;
  signal.throwIfAborted();
  // The line editor repeats what is typed to its output: that is nowhere.
  const nowhere = new Writable({ write: (_bytes, _encoding, done) => done() });
  const editor = createInterface({
    input,
    output: nowhere,
    terminal: true,
    historySize: 0,
    crlfDelay: Infinity,
  });
  try {
    return await new Promise<string[]>((resolve, reject) => {
      const answers: string[] = [];
      output.ask(questions[0]!);
      editor.on('line', (line) => {
        output.note('');
        answers.push(line);
        const question = questions[answers.length];
        if (question === undefined) resolve(answers);
        else output.ask(question);
      });
      // Raw mode makes a letter of Ctrl-C.
      editor.on('SIGINT', () => reject(new Stopped('SIGINT')));
      editor.on('close', () => reject(new UsageError('no passphrase was typed')));
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  } catch (error) {
    output.note('');
    throw error;
  } finally {
    editor.close();
    if (input !== process.stdin) input.destroy();
  }
}
