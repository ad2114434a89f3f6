/** A Host whose files fail where a test says: counts and records every call on Files and OpenFile, and makes the nth fail. */
import type { Files, Host, OpenFile } from '../../engine/host.ts';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';

/** A call on Files by its name (`join`, which does nothing, is left out), or on an OpenFile as `file.` and its name. */
export type Operation = Exclude<keyof Files, 'join'> | `file.${keyof OpenFile}`;

/** One call that was made. `failed` when a fault struck it, or the host below threw. */
export interface Call {
  readonly operation: Operation;
  readonly path: string;
  /** Of `rename` and `clone`. */
  readonly to?: string;
  /** Of `file.read`, `file.write` and `file.writeLater`: where and how much. */
  readonly position?: number;
  readonly bytes?: number;
  readonly outcome: 'done' | 'failed' | 'injected';
}

/** Which calls a fault counts. A call with two paths matches when either does. */
export interface CallFilter {
  readonly operations?: readonly Operation[];
  readonly path?: string | RegExp;
}

export interface Fault extends CallFilter {
  /** The system's code, such as EIO, ENOSPC, EACCES, EMFILE. */
  readonly code: string;
  /** Which of the matching calls from now on fails, counted from 1. Default the first. */
  readonly nth?: number;
  /** Whether only that call fails, or every matching one from it on. Default `once`. */
  readonly lasts?: 'once' | 'sticky';
  /**
   * How much of the call is done before its error: `none` (the default), `half` (a torn write; nothing of any other call),
   * or `whole` (done, and reported as failed). A `close` always closes.
   */
  readonly effect?: 'none' | 'half' | 'whole';
}

export interface FaultyHost extends Host {
  /** Every call so far, in order. */
  readonly calls: readonly Call[];
  /** Faults may be armed side by side; the first armed that fits a call strikes. */
  arm(fault: Fault): void;
  disarm(): void;
  /** How many faults have struck. */
  readonly struck: number;
  forgetCalls(): void;
}

/**
 * Wraps a host. Thread entries run inline and are given the faulty host, whatever the threads of the host below:
 * faults cannot reach into a worker.
 */
export function faultyHost(below: Host): FaultyHost {
  const log = new FaultLog();
  const host: FaultyHost = {
    files: faultyFiles(below.files, log),
    clock: below.clock,
    threads: inlineThreads(() => host),
    random: (bytes) => below.random(bytes),
    platform: below.platform,
    get pid() {
      return below.pid;
    },
    get processStart() {
      return below.processStart;
    },
    calls: log.calls,
    arm: (fault) => log.arm(fault),
    disarm: () => log.disarm(),
    get struck() {
      return log.struck;
    },
    forgetCalls: () => void log.calls.splice(0),
  };
  return host;
}

/** The error every fault throws: like the system's, and marked, so that a test can tell it from a real one. */
export function injectedError(code: string, call: Pick<Call, 'operation' | 'path'>): Error {
  const message = `${code}: injected into ${call.operation} '${call.path}'`;
  return Object.assign(new Error(message), {
    code,
    syscall: call.operation,
    path: call.path,
    injected: true,
  });
}

export function matches(call: Pick<Call, 'operation' | 'path' | 'to'>, filter: CallFilter): boolean {
  if (filter.operations !== undefined && !filter.operations.includes(call.operation)) return false;
  const { path } = filter;
  if (path === undefined) return true;
  return [call.path, call.to ?? call.path].some((text) =>
    typeof path === 'string'
      ? text.includes(path)
      : new RegExp(path.source, path.flags.replace(/[gy]/g, '')).test(text),
  );
}

/** What is attempted: the call itself, what a half of it is, and the whole of it when nobody gets its result. */
interface Attempt<Result> {
  readonly call: Omit<Call, 'outcome'>;
  readonly run: () => Result;
  readonly half?: () => void;
  readonly whole?: () => void;
}

class FaultLog {
  readonly calls: Call[] = [];
  struck = 0;
  #armed: { readonly fault: Fault; seen: number }[] = [];

  arm(fault: Fault): void {
    this.#armed.push({ fault, seen: 0 });
  }

  disarm(): void {
    this.#armed = [];
  }

  attempt<Result>({ call, run, half, whole = run }: Attempt<Result>): Result {
    const fault = this.#next(call);
    if (fault === undefined) return this.#record(call, run);
    this.struck++;
    this.calls.push({ ...call, outcome: 'injected' });
    if (fault.effect === 'whole' || call.operation === 'file.close') whole();
    else if (fault.effect === 'half') half?.();
    throw injectedError(fault.code, call);
  }

  #record<Result>(call: Omit<Call, 'outcome'>, run: () => Result): Result {
    let outcome: Call['outcome'] = 'failed';
    try {
      const result = run();
      outcome = 'done';
      return result;
    } finally {
      this.calls.push({ ...call, outcome });
    }
  }

  /** The fault that strikes this call; every armed fault counts it. */
  #next(call: Omit<Call, 'outcome'>): Fault | undefined {
    const striking = this.#armed.filter((armed) => {
      if (!matches(call, armed.fault)) return false;
      armed.seen++;
      const nth = armed.fault.nth ?? 1;
      return armed.fault.lasts === 'sticky' ? armed.seen >= nth : armed.seen === nth;
    });
    return striking[0]?.fault;
  }
}

function faultyFiles(below: Files, log: FaultLog): Files {
  const one = <Result>(operation: Operation, path: string | Uint8Array, run: () => Result): Result =>
    log.attempt({ call: { operation, path: textOf(path) }, run });
  return {
    open: (path, mode, permissions) =>
      log.attempt({
        call: { operation: 'open', path },
        run: () => faultyFile(below.open(path, mode, permissions), { path, log }),
        whole: () => below.open(path, mode, permissions).close(),
      }),
    facts: (path) => one('facts', path, () => below.facts(path)),
    linkFacts: (path) => one('linkFacts', path, () => below.linkFacts(path)),
    list: (path) => one('list', path, () => below.list(path)),
    readLink: (path) => one('readLink', path, () => below.readLink(path)),
    makeFolder: (path, permissions) => one('makeFolder', path, () => below.makeFolder(path, permissions)),
    makeLink: (path, target) => one('makeLink', path, () => below.makeLink(path, target)),
    removeFile: (path) => one('removeFile', path, () => below.removeFile(path)),
    removeFolder: (path) => one('removeFolder', path, () => below.removeFolder(path)),
    rename: (path, to) =>
      log.attempt({ call: { operation: 'rename', path, to }, run: () => below.rename(path, to) }),
    syncFolder: (path) => one('syncFolder', path, () => below.syncFolder(path)),
    setMode: (path, mode) => one('setMode', path, () => below.setMode(path, mode)),
    setTimes: (path, mtimeNs) => one('setTimes', path, () => below.setTimes(path, mtimeNs)),
    clone: (path, to) =>
      log.attempt({ call: { operation: 'clone', path, to }, run: () => below.clone(path, to) }),
    realPath: (path) => one('realPath', path, () => below.realPath(path)),
    space: (path) => one('space', path, () => below.space(path)),
    join: (...parts) => below.join(...parts),
  };
}

function faultyFile(below: OpenFile, context: { readonly path: string; readonly log: FaultLog }): OpenFile {
  const { path, log } = context;
  const one = <Result>(operation: Operation, run: () => Result): Result =>
    log.attempt({ call: { operation, path }, run });
  // At once where it fails: what is half done is done when the error is told.
  const writeLater = async (pieces: readonly Uint8Array[], position: number): Promise<void> => {
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
    await log.attempt<Promise<void> | undefined>({
      call: { operation: 'file.writeLater', path, position, bytes },
      run: () => below.writeLater?.(pieces, position),
      half: () => below.write(Buffer.concat(pieces).subarray(0, bytes >> 1), position),
      whole: () => below.write(Buffer.concat(pieces), position),
    });
  };
  return {
    ...(below.writeLater === undefined ? {} : { writeLater }),
    read: (target, position) =>
      log.attempt({
        call: { operation: 'file.read', path, position, bytes: target.length },
        run: () => below.read(target, position),
      }),
    write: (source, position) =>
      log.attempt({
        call: { operation: 'file.write', path, position, bytes: source.length },
        run: () => below.write(source, position),
        half: () => below.write(source.subarray(0, source.length >> 1), position),
      }),
    facts: () => one('file.facts', () => below.facts()),
    truncate: (size) => one('file.truncate', () => below.truncate(size)),
    sync: () => one('file.sync', () => below.sync()),
    setMode: (mode) => one('file.setMode', () => below.setMode(mode)),
    setTimes: (mtimeNs) => one('file.setTimes', () => below.setTimes(mtimeNs)),
    close: () => one('file.close', () => below.close()),
  };
}

function textOf(path: string | Uint8Array): string {
  return typeof path === 'string' ? path : new TextDecoder().decode(path);
}
