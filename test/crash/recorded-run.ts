// Runs a workload process under the recorder: compiles recorder.c where that is possible, and says why where it is not.
import { execFileSync, spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Plan } from './workload.ts';

/** A fresh folder in memory where there is room for it, else in the system's temp folder. */
export function freshFolder(name: string): string {
  return mkdtempSync(join(roomyMemory() ? '/dev/shm' : tmpdir(), `holdfast-${name}-`));
}
function roomyMemory(): boolean {
  try {
    accessSync('/dev/shm', constants.W_OK);
    const { bavail, bsize } = statfsSync('/dev/shm');
    return bavail * bsize > 512 * 1024 * 1024;
  } catch {
    return false;
  }
}

/** Where the compiled recorder is, or the reason why there is none. */
export type Recorder = { readonly path: string } | { readonly missing: string };

const built = new Map<string, Recorder>();

export function buildRecorder(): Recorder {
  return compiled('recorder.c', 'recorder.so');
}

/** A library of one of the C files here; compiled once a process. */
export function compiled(file: string, library: string): Recorder {
  const known = built.get(file) ?? compile(file, library);
  built.set(file, known);
  return known;
}

function compile(file: string, library: string): Recorder {
  if (process.platform !== 'linux') return { missing: `${file} needs Linux, this is ${process.platform}` };
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  if (report.header?.glibcVersionRuntime === undefined) return { missing: `${file} needs glibc` };
  const source = new URL(`./${file}`, import.meta.url).pathname;
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-recorder-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, library);
  try {
    execFileSync(
      process.env['CC'] ?? 'cc',
      ['-O2', '-shared', '-fPIC', '-o', path, source, '-ldl', '-lpthread'],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
  } catch (error) {
    return {
      missing: `${file} cannot be compiled here: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
  return existsSync(path) ? { path } : { missing: 'the compiler wrote no library' };
}

export interface RecordedRun {
  readonly code: number | string;
  readonly stderr: string;
}

/** Runs `plan` recorded: calls under `prefix` go to the file `log`, lines of the workload stand between them. */
export async function runRecorded(
  plan: Plan,
  recorder: { readonly path: string },
  files: { readonly prefix: string; readonly log: string },
): Promise<RecordedRun> {
  const child = spawn(process.execPath, [workloadPath, JSON.stringify(plan)], {
    env: {
      ...process.env,
      LD_PRELOAD: recorder.path,
      REC_PREFIX: files.prefix,
      REC_LOG: files.log,
      REC_ACK: plan.ack,
      UV_USE_IO_URING: '0',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr = (stderr + data.toString()).slice(-4000)));
  // What hangs is a finding; what is slow is not.
  const timer = setTimeout(() => child.kill('SIGKILL'), 900_000);
  const code = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'));
  });
  clearTimeout(timer);
  return { code, stderr };
}

export const workloadPath = new URL('./workload.ts', import.meta.url).pathname;
