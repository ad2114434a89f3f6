/** Asks for passphrases on a terminal, without showing what is typed. */
import { StringDecoder } from 'node:string_decoder';
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
  const typing = new Typing();
  const listeners: { onBytes?: (bytes: Buffer) => void; onEnd?: () => void; onAbort?: () => void } = {};
  // Raw mode: nothing is echoed, and a line may be longer than the 4,096 bytes that a terminal holds back for editing.
  input.setRawMode(true);
  try {
    return await new Promise<string[]>((resolve, reject) => {
      listeners.onBytes = (bytes) => {
        try {
          const before = typing.lines.length;
          typing.take(bytes);
          for (let i = before; i < Math.min(typing.lines.length, questions.length); i++)
            output.ask(`\n${questions[i + 1] ?? ''}`);
          if (typing.lines.length >= questions.length) resolve(typing.lines.slice(0, questions.length));
        } catch (error) {
          output.note('');
          reject(error);
        }
      };
      listeners.onEnd = () => reject(new UsageError('no passphrase was typed'));
      listeners.onAbort = () => reject(signal.reason as Error);
      output.ask(questions[0]!);
      // Asked a second time, it was paused.
      input.on('data', listeners.onBytes).on('end', listeners.onEnd).resume();
      signal.addEventListener('abort', listeners.onAbort);
    });
  } finally {
    input.off('data', listeners.onBytes!).off('end', listeners.onEnd!);
    signal.removeEventListener('abort', listeners.onAbort!);
    input.setRawMode(false);
    input.pause();
    if (input !== process.stdin) input.destroy();
  }
}

/** What was typed, letter by letter, with the keys that a terminal itself would have handled. */
class Typing {
  readonly lines: string[] = [];
  readonly #decoder = new StringDecoder('utf8');
  #letters: string[] = [];

  take(bytes: Buffer): void {
    for (const letter of this.#decoder.write(bytes)) this.#key(letter);
  }

  #key(letter: string): void {
    switch (letter) {
      case '\r':
      case '\n':
        this.lines.push(this.#letters.join(''));
        this.#letters = [];
        break;
      case '\u0003': // Ctrl-C
        throw new Stopped('SIGINT');
      case '\u0004': // Ctrl-D
        throw new UsageError('no passphrase was typed');
      case '\u007f': // backspace, either kind
      case '\b':
        this.#letters.pop();
        break;
      case '\u0015': // Ctrl-U
        this.#letters = [];
        break;
      default:
        this.#letters.push(letter);
    }
  }
}
