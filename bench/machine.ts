/** Brings the machine to a known state before a run: nothing waiting to be written, sources cold or warm. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

const piece = Buffer.allocUnsafe(1024 * 1024);

/** Writes out what the whole machine holds dirty, so that no run pays for another's. */
export function syncMachine(): void {
  try {
    execFileSync('sync');
  } catch {
    // no such command: then runs may pay for each other, as they do on such machines
  }
}

/** True when the page cache is empty now; only root can do that, and only on Linux. */
export function dropCaches(): boolean {
  syncMachine();
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

/** Reads everything at a path, so that it is in the page cache as far as that reaches. */
export function readAll(path: string): void {
  if (statSync(path).isDirectory()) {
    for (const name of readdirSync(path)) readAll(join(path, name));
    return;
  }
  const file = openSync(path, 'r');
  try {
    while (readSync(file, piece) > 0);
  } finally {
    closeSync(file);
  }
}

/** What takes room at a path: bytes on disk, and files and folders. */
export function spaceOf(path: string): { readonly bytes: number; readonly inodes: number } {
  const { blocks } = statSync(path);
  const own = { bytes: blocks * 512, inodes: 1 };
  if (!statSync(path).isDirectory()) return own;
  return readdirSync(path)
    .map((name) => spaceOf(join(path, name)))
    .reduce((sum, one) => ({ bytes: sum.bytes + one.bytes, inodes: sum.inodes + one.inodes }), own);
}

/** One line about what the figures were taken on. */
export function describeMachine(): string {
  const cores = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cores.length} × ${cores[0]?.model.trim() ?? 'unknown processor'}, ${memory} GiB, ${process.platform} ${process.arch}, Node ${process.versions.node}`;
}
