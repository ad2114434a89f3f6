/** What a verb says: results to stdout, everything else to stderr; with --json one object as the last line of stdout. */
import { styleText } from 'node:util';

/** A terminal, a file, a pipe, or whatever takes what is written. */
type Sink = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

export interface Streams {
  readonly stdout: Sink;
  readonly stderr: Sink;
}

export class Output {
  readonly json: boolean;
  readonly #stdout: Sink;
  readonly #stderr: Sink;

  constructor(json: 'json' | 'people', streams: Streams = process) {
    this.json = json === 'json';
    this.#stdout = streams.stdout;
    this.#stderr = streams.stderr;
  }

  /** Whether a person watches stderr. */
  get watched(): boolean {
    return this.#stderr.isTTY === true && !this.json;
  }

  get columns(): number {
    return this.#stderr.columns || 80;
  }

  /** A line for people; not printed with --json. */
  async line(text: string): Promise<void> {
    if (!this.json) await this.bytes(`${text}\n`);
  }

  /** The result for programs; only printed with --json. */
  async result(value: object): Promise<void> {
    if (this.json) await this.bytes(`${JSON.stringify(value, plain)}\n`);
  }

  /** Content. Waits while the reader is slow. */
  async bytes(bytes: Uint8Array | string): Promise<void> {
    if (this.#stdout.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#stdout.off('drain', done).off('error', done).off('close', done);
        resolve();
      };
      this.#stdout.on('drain', done).on('error', done).on('close', done);
    });
  }

  /** Resolves when all content has gone out, or cannot. */
  flush(): Promise<void> {
    return new Promise((resolve) => {
      this.#stdout.write('', () => resolve());
    });
  }

  /** A question; the answer is typed behind it. */
  ask(question: string): void {
    this.#stderr.write(question);
  }

  /** Something to know that is no result. */
  note(text: string): void {
    this.#stderr.write(`${text}\n`);
  }

  warn(text: string): void {
    this.note(`${this.style('yellow', 'warning:')} ${text}`);
  }

  /** Terminal control; only when somebody watches. */
  draw(text: string): void {
    if (this.watched) this.#stderr.write(text);
  }

  /** Colour where stderr shows colour (a terminal, and NO_COLOR is not set). */
  style(format: Parameters<typeof styleText>[0], text: string): string {
    return styleText(format, text, { stream: this.#stderr });
  }
}

/** Whole numbers beyond 53 bits as text. */
function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
