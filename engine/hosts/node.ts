/** The machine as Node.js sees it: synchronous files for worker threads, real clock, real randomness. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import type { Clock, DirectFile, FileFacts, FileKind, Files, Host, OpenFile, OpenMode } from '../host.ts';
import { openDirect } from './direct-file.ts';
import { inlineThreads } from './inline-threads.ts';
import { nodeThreads } from './node-threads.ts';

const flags: Record<OpenMode, number> = {
  // Non-blocking, so that a FIFO that turns up in a folder cannot hold a thread; files do not care.
  read: fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0),
  write: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_EXCL,
};

/** The host every store uses unless it is given another. `inline` runs thread entries on the calling thread. */
export function nodeHost(options: { readonly inline?: boolean } = {}): Host {
  const host: Host = {
    files: nodeFiles,
    clock: nodeClock,
    threads: options.inline === true ? inlineThreads(() => host) : nodeThreads(),
    random: (bytes) => randomBytes(bytes),
    platform: process.platform,
    pid: process.pid,
    processStart: String(Math.round(performance.timeOrigin)),
  };
  return host;
}

const nodeClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      timer.unref();
      signal?.addEventListener('abort', done, { once: true });
    }),
  yield: () => new Promise((resolve) => setImmediate(resolve)),
};

function writeOnce(fd: number, pieces: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.writev(fd, pieces, position, (error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

/** All behind the first `count` bytes. */
function behind(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  let skipped = 0;
  return pieces.flatMap((piece) => {
    const rest = piece.subarray(Math.max(0, count - skipped));
    skipped += piece.length;
    return rest.length > 0 ? [rest] : [];
  });
}

class NodeFile implements OpenFile {
  #fd: number | undefined;
  /** Writes of `writeLater` under way. */
  #writing = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(target: Uint8Array, position: number): number {
    let done = 0;
    while (done < target.length) {
      const count = fs.readSync(this.#open(), target, done, target.length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  write(source: Uint8Array, position: number): void {
    let done = 0;
    while (done < source.length) {
      done += fs.writeSync(this.#open(), source, done, source.length - done, position + done);
    }
  }

  async writeLater(pieces: readonly Uint8Array[], position: number): Promise<void> {
    const fd = this.#open();
    this.#writing++;
    try {
      for (let done = 0, left = pieces; left.length > 0; left = behind(pieces, done))
        done += await writeOnce(fd, left, position + done);
    } finally {
      this.#writing--;
      if (this.#fd === undefined) this.#closeNow(fd);
    }
  }

  facts(): FileFacts {
    return factsOf(fs.fstatSync(this.#open(), { bigint: true }));
  }

  truncate(size: number): void {
    fs.ftruncateSync(this.#open(), size);
  }

  sync(): void {
    fs.fsyncSync(this.#open());
  }

  setMode(mode: number): void {
    fs.fchmodSync(this.#open(), mode);
  }

  setTimes(mtimeNs: bigint): void {
    const seconds = toSeconds(mtimeNs);
    fs.futimesSync(this.#open(), seconds, seconds);
  }

  direct(): DirectFile | undefined {
    return openDirect(this.#open());
  }

  close(): void {
    if (this.#fd === undefined) return;
    const fd = this.#fd;
    this.#fd = undefined;
    this.#closeNow(fd);
  }

  /** Not while a thread of the system writes: the number would soon be another file's. */
  #closeNow(fd: number): void {
    if (this.#writing === 0) fs.closeSync(fd);
  }

  #open(): number {
    if (this.#fd === undefined) throw Object.assign(new Error('file is closed'), { code: 'EBADF' });
    return this.#fd;
  }
}

const nodeFiles: Files = {
  open: (path, mode, permissions = 0o644) => new NodeFile(fs.openSync(path, flags[mode], permissions)),
  facts: (path) => optional(() => fs.statSync(path, { bigint: true, throwIfNoEntry: false })),
  linkFacts: (path) => optional(() => fs.lstatSync(asPath(path), { bigint: true, throwIfNoEntry: false })),
  list: (path) => bytesOf(fs.readdirSync(path, { encoding: 'latin1' })),
  readLink: (path) => fs.readlinkSync(path, { encoding: 'buffer' }),
  makeFolder: (path, permissions = 0o755) => fs.mkdirSync(path, permissions),
  makeLink: (path, target) => fs.symlinkSync(target, path),
  removeFile: (path) => fs.unlinkSync(path),
  removeFolder: (path) => fs.rmdirSync(path),
  rename: (from, to) => fs.renameSync(from, to),
  syncFolder(path) {
    // Windows has no fsync of a folder (EPERM); its rename is journaled with the file's metadata.
    if (process.platform === 'win32') return;
    const fd = fs.openSync(path, fs.constants.O_RDONLY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  setMode: (path, mode) => fs.chmodSync(path, mode),
  setTimes(path, mtimeNs) {
    const seconds = toSeconds(mtimeNs);
    fs.lutimesSync(path, seconds, seconds);
  },
  clone(from, to) {
    try {
      fs.copyFileSync(from, to, fs.constants.COPYFILE_EXCL | fs.constants.COPYFILE_FICLONE_FORCE);
      return true;
    } catch (error) {
      if (noClone.has((error as NodeJS.ErrnoException).code ?? '')) {
        // libuv makes the target before it finds out that it cannot clone.
        fs.rmSync(to, { force: true });
        return false;
      }
      throw error;
    }
  },
  realPath: (path) => fs.realpathSync.native(path),
  space(path) {
    const facts = fs.statfsSync(path);
    return { freeBytes: facts.bavail * facts.bsize, type: facts.type };
  },
  join: (...parts) => join(...parts),
};

const noClone = new Set(['ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EINVAL', 'ENOTTY']);

/** utimes takes seconds as a double: exact to a few hundred nanoseconds in this century. */
function toSeconds(ns: bigint): string {
  return String(Number(ns / 1_000_000_000n) + Number(ns % 1_000_000_000n) / 1e9);
}

/**
 * Names that were read as a character for each byte, as views of one memory: a buffer from the system for each name takes as long as to
 * look at the file.
 */
function bytesOf(names: readonly string[]): Uint8Array[] {
  let total = 0;
  for (const name of names) total += name.length;
  const all = Buffer.allocUnsafeSlow(total);
  let at = 0;
  return names.map((name) => all.subarray(at, (at += all.write(name, at, 'latin1'))));
}

function asPath(path: string | Uint8Array): fs.PathLike {
  return typeof path === 'string' ? path : Buffer.from(path.buffer, path.byteOffset, path.byteLength);
}

function optional(read: () => fs.BigIntStats | undefined): FileFacts | undefined {
  const stats = read();
  return stats === undefined ? undefined : factsOf(stats);
}

function factsOf(stats: fs.BigIntStats): FileFacts {
  return {
    kind: kindOf(Number(stats.mode) & fs.constants.S_IFMT),
    size: Number(stats.size),
    mode: Number(stats.mode) & 0o7777,
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    dev: stats.dev,
    ino: stats.ino,
    links: Number(stats.nlink),
  };
}

function kindOf(type: number): FileKind {
  if (type === fs.constants.S_IFREG) return 'file';
  if (type === fs.constants.S_IFDIR) return 'folder';
  return type === fs.constants.S_IFLNK ? 'link' : 'other';
}
