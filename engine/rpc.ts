/** Calls between threads over a Port: numbered requests, replies, cancellation, progress; errors keep their codes. */
import { type ErrorData, StoreError, systemCode } from './errors.ts';
import type { Port } from './host.ts';

type Message =
  | { readonly t: 'call'; readonly n: number; readonly method: string; readonly args: unknown }
  | { readonly t: 'cancel'; readonly n: number }
  | { readonly t: 'progress'; readonly n: number; readonly value: unknown }
  | { readonly t: 'note'; readonly value: unknown }
  | { readonly t: 'reply'; readonly n: number; readonly value: unknown }
  | {
      readonly t: 'error';
      readonly n: number;
      readonly error:
        | ErrorData
        | {
            readonly message: string;
            readonly stack: string;
            readonly code?: string;
            readonly aborted: boolean;
          };
    };

export interface CallContext {
  /** Aborts when the caller gave up. */
  readonly signal: AbortSignal;
  progress(value: unknown): void;
}

export type Handler = (args: never, context: CallContext) => unknown;

/** A handler's result whose buffers are moved, not copied. */
export class Moved {
  readonly value: unknown;
  readonly buffers: readonly object[];

  constructor(value: unknown, buffers: readonly object[]) {
    this.value = value;
    this.buffers = buffers;
  }
}

/**
 * Answers calls on a port, each as it comes; a handler may be async and run beside others. Returns a way to tell the caller what belongs
 * to no call.
 */
export function serve(port: Port, handlers: Readonly<Record<string, Handler>>): (note: unknown) => void {
  const running = new Map<number, AbortController>();
  const answer = async (call: Extract<Message, { t: 'call' }>): Promise<void> => {
    const controller = new AbortController();
    running.set(call.n, controller);
    try {
      const handler = handlers[call.method];
      if (handler === undefined) throw new Error(`holdfast bug: no method ${call.method}`);
      const context: CallContext = {
        signal: controller.signal,
        progress: (value) => port.post({ t: 'progress', n: call.n, value } satisfies Message),
      };
      const result = await handler(call.args as never, context);
      if (result instanceof Moved)
        port.post({ t: 'reply', n: call.n, value: result.value } satisfies Message, result.buffers);
      else port.post({ t: 'reply', n: call.n, value: result } satisfies Message);
    } catch (error) {
      port.post({
        t: 'error',
        n: call.n,
        error: errorToData(error, controller.signal.aborted),
      } satisfies Message);
    } finally {
      running.delete(call.n);
    }
  };
  port.listen((raw) => {
    const message = raw as Message;
    if (message.t === 'call') void answer(message);
    else if (message.t === 'cancel') running.get(message.n)?.abort();
  });
  return (value) => port.post({ t: 'note', value } satisfies Message);
}

export interface CallOptions {
  readonly transfer?: readonly object[];
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((value: unknown) => void) | undefined;
}

interface Waiting {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly options: CallOptions;
  readonly onAbort: () => void;
}

/** The calling end. `onBusy` is told when calls start and end, so that a thread with work keeps the process alive. */
export class Remote {
  /** Told what the other end has to say beside its answers. */
  onNote: (value: unknown) => void = () => {};
  readonly #port: Port;
  readonly #onBusy: (busy: boolean) => void;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;
  #dead: Error | undefined;

  constructor(port: Port, onBusy: (busy: boolean) => void = () => {}) {
    this.#port = port;
    this.#onBusy = onBusy;
    port.listen((raw) => this.#receive(raw as Message));
  }

  /** How many calls are under way. */
  get pending(): number {
    return this.#waiting.size;
  }

  call<Result>(method: string, args: unknown, options: CallOptions = {}): Promise<Result> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    if (options.signal?.aborted) return Promise.reject(options.signal.reason as Error);
    const n = this.#next++;
    return new Promise<Result>((resolve, reject) => {
      const onAbort = (): void => this.#port.post({ t: 'cancel', n } satisfies Message);
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.set(n, { resolve, reject, options, onAbort });
      this.#onBusy(true);
      try {
        this.#port.post({ t: 'call', n, method, args } satisfies Message, options.transfer);
      } catch (error) {
        this.#take(n)?.reject(error);
      }
    });
  }

  /** The other end died: everything under way and everything later fails with this error. */
  fail(error: Error): void {
    this.#dead = error;
    for (const n of [...this.#waiting.keys()]) this.#take(n)?.reject(error);
  }

  #receive(message: Message): void {
    if (message.t === 'progress') return this.#waiting.get(message.n)?.options.onProgress?.(message.value);
    if (message.t === 'note') return this.onNote(message.value);
    if (message.t === 'reply') return this.#take(message.n)?.resolve(message.value);
    if (message.t !== 'error') return;
    const waiting = this.#take(message.n);
    const signal = waiting?.options.signal;
    if (signal?.aborted && 'aborted' in message.error && message.error.aborted)
      waiting?.reject(signal.reason);
    else waiting?.reject(errorFromData(message.error));
  }

  #take(n: number): Waiting | undefined {
    const waiting = this.#waiting.get(n);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(n);
    waiting.options.signal?.removeEventListener('abort', waiting.onAbort);
    this.#onBusy(false);
    return waiting;
  }
}

type WireError = Extract<Message, { t: 'error' }>['error'];

/** Any error as cloneable data. `aborted`: the caller's signal had fired, and this is how the work stopped. */
export function errorToData(error: unknown, aborted = false): WireError {
  if (StoreError.is(error)) return error.toData();
  if (error instanceof Error) {
    const code = systemCode(error);
    return { message: error.message, stack: error.stack ?? '', aborted, ...(code !== undefined && { code }) };
  }
  return { message: String(error), stack: '', aborted };
}

export function errorFromData(data: WireError): Error {
  if ('holdfast' in data) return StoreError.fromData(data);
  return Object.assign(new Error(data.message), {
    stack: data.stack,
    ...(data.code !== undefined && { code: data.code }),
  });
}
