/** The transport over a child process: any program that serves on its stdin and stdout, or `ssh` to another machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { StoreError } from '../../engine/index.ts';
import type { Transport } from '../transport.ts';
import { StreamTransport } from './streams.ts';

/** How the last of a child's words is told, bytes. */
const wordsMax = 2048;

/**
 * Starts a program, without a shell, whose stdin and stdout are the peer. What it says on stderr becomes part of the error when it
 * fails. Closing waits until it has ended.
 */
export function spawnTransport(program: string, args: readonly string[]): Transport {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], shell: false, windowsHide: true });
  return new ChildTransport(child, program);
}

/** Where a store is, on another machine. */
export interface SshTarget {
  readonly user?: string;
  readonly host: string;
  readonly port?: number;
  readonly path: string;
}

/** `ssh://[user@]host[:port]/path`; `/~/path` is below the home of the user. `invalid-argument` for anything else. */
export function parseSshTarget(remote: string): SshTarget {
  const parts = /^ssh:\/\/(?:([^@/:]*)@)?([^@/:]*)(?::([0-9]{1,5}))?(\/[^\0]*)$/.exec(remote);
  if (parts === null)
    throw new StoreError('invalid-argument', `not ssh://user@host/path: ${remote.slice(0, 80)}`);
  const [, user, host = '', port, path = ''] = parts;
  const target = {
    host,
    path: path.startsWith('/~/') ? path.slice(3) : path,
    ...(user === undefined ? {} : { user }),
    ...(port === undefined ? {} : { port: Number(port) }),
  };
  return target;
}

/**
 * The arguments of `ssh` that run `holdfast serve` there. Nothing of them can become an option: the host stands behind `--`, and none
 * of the parts may begin with `-`. The far side hands the command to a shell of its own, so the path is quoted for one.
 */
export function sshArguments({ user, host, port, path }: SshTarget): string[] {
  // oxlint-disable-next-line no-control-regex -- control characters are what is refused
  const wild = /[\s'"\\`$&|;<>()*?[\]{}!#\u0000-\u001f\u007f]/;
  for (const [what, part] of [
    ['user', user],
    ['host', host],
  ] as const)
    if (part !== undefined && (part === '' || part.startsWith('-') || wild.test(part)))
      throw new StoreError('invalid-argument', `the ${what} of a remote cannot be ${JSON.stringify(part)}`);
  if (path === '' || path.startsWith('-') || /[\0\n\r]/.test(path))
    throw new StoreError('invalid-argument', `the path of a remote cannot be ${JSON.stringify(path)}`);
  if (port !== undefined && (port < 1 || port > 65_535))
    throw new StoreError('invalid-argument', `the port of a remote cannot be ${port}`);
  const quoted = `'${path.replaceAll("'", String.raw`'\''`)}'`;
  return [
    ...['-T', '-o', 'BatchMode=yes'],
    ...(port === undefined ? [] : ['-p', String(port)]),
    '--',
    user === undefined ? host : `${user}@${host}`,
    `holdfast serve --stdio -- ${quoted}`,
  ];
}

/** The store at `ssh://user@host/path`, through the `ssh` of this machine and the `holdfast` of that one. */
export function sshTransport(remote: string): Transport {
  return spawnTransport('ssh', sshArguments(parseSshTarget(remote)));
}

class ChildTransport implements Transport {
  readonly #child: ChildProcess;
  readonly #program: string;
  readonly #streams: StreamTransport;
  readonly #ended: Promise<void>;
  #words = '';
  #failure: StoreError | undefined;

  constructor(child: ChildProcess, program: string) {
    this.#child = child;
    this.#program = program;
    this.#streams = new StreamTransport({ input: child.stdout!, output: child.stdin! });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#words = (this.#words + text).slice(-wordsMax);
    });
    this.#ended = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#failure = new StoreError('unavailable', `${program} cannot be started`, {}, error);
        resolve();
      });
      child.once('close', (code, signal) => {
        if (code !== 0) this.#failure ??= this.#failureOf(code ?? signal);
        resolve();
      });
    });
  }

  async send(bytes: Uint8Array): Promise<void> {
    try {
      await this.#streams.send(bytes);
    } catch (error) {
      throw await this.#told(error);
    }
  }

  /** An end of the child's output is a clean one only if the child ended well. */
  async receive(): Promise<Uint8Array | undefined> {
    let bytes: Uint8Array | undefined;
    try {
      bytes = await this.#streams.receive();
    } catch (error) {
      throw this.#child.stdin!.writableEnded ? error : await this.#told(error);
    }
    if (bytes !== undefined || this.#child.stdin!.writableEnded) return bytes;
    await this.#ended;
    if (this.#failure !== undefined) throw this.#failure;
    return undefined;
  }

  async close(reason?: Error): Promise<void> {
    await this.#streams.close(reason);
    if (reason !== undefined) this.#child.kill();
    await this.#ended;
  }

  /** What the child said of its own death says more than a broken pipe. */
  async #told(error: unknown): Promise<unknown> {
    if (!StoreError.is(error, 'unavailable')) return error;
    await this.#ended;
    return this.#failure ?? error;
  }

  #failureOf(how: number | string | null): StoreError {
    // Of another machine: nothing of it may steer a terminal.
    const words = this.#words
      .replace(/\r+\n/g, '\n')
      .replace(/[^\P{Cc}\n]/gu, '\ufffd')
      .trim();
    return new StoreError(
      'unavailable',
      `${this.#program} ended with ${String(how)}${words === '' ? '' : `: ${words}`}`,
    );
  }
}
