/** Runs the holdfast command: as a process of its own, the way people do, or in this one, which costs a twentieth. */
import { type SpawnOptions, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../../src/cli/program.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
// What was built, when it is what stands here now: that is what people run, and it starts faster.
const { isStale } = (await import(new URL('../toolchain/build.mjs', import.meta.url).href)) as {
  isStale: (this: void) => boolean;
};
const [folder, extension] = isStale() ? ['', 'ts'] : ['dist/', 'js'];
export const main = `${root}${folder}src/cli/main.${extension}`;
const start = `${root}${folder}src/cli/start.${extension}`;

export interface Ended {
  readonly exit: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The last line of stdout, parsed; undefined when it is no JSON. */
  readonly json: any; // oxlint-disable-line typescript/no-explicit-any
}

/**
 * Runs a command to its end: here, where nothing is said of its surroundings but the folder. What needs descriptors, a terminal or an
 * environment of its own is a process.
 */
export function holdfast(args: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  const { cwd, timeout: _, ...others } = options;
  if (Object.keys(others).length > 0) return holdfastProcess(args, options);
  const ended = turn.then(() => here(args, cwd?.toString()));
  turn = ended.catch(() => undefined);
  return ended;
}

/** The command as people run it. */
export function holdfastProcess(args: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  return run([main, ...args], options).ended;
}

/** A process has one working folder: what runs here runs one after the other. */
let turn: Promise<unknown> = Promise.resolve();

async function here(args: readonly string[], folder: string | undefined): Promise<Ended> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const said = Promise.all([buffer(stdout), buffer(stderr)]);
  const before = process.cwd();
  if (folder !== undefined) process.chdir(folder);
  try {
    // Threads cost more than most of these commands do.
    const exit = await runProgram(args, { streams: { stdout, stderr }, threads: { count: 0 } });
    stdout.end();
    stderr.end();
    const [out, err] = (await said).map(String) as [string, string];
    return { exit, stdout: out, stderr: err, json: lastObject(out) };
  } finally {
    process.chdir(before);
  }
}

export function npmStart(args: readonly string[], options: SpawnOptions = {}): Promise<Ended> {
  return run([start, ...args], options).ended;
}

/** A command that runs until something is done to it. */
export function holdfastRunning(args: readonly string[], options: SpawnOptions = {}): ReturnType<typeof run> {
  return run([main, ...args], options);
}

export function npmStartRunning(args: readonly string[], options: SpawnOptions = {}): ReturnType<typeof run> {
  return run([start, ...args], options);
}

function run(
  args: readonly string[],
  options: SpawnOptions,
): { readonly child: ReturnType<typeof spawn>; readonly ended: Promise<Ended> } {
  const child = spawn(process.execPath, ['--no-warnings', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout?.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr?.on('data', (bytes: Buffer) => err.push(bytes));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exit) => {
      const [stdout, stderr] = [Buffer.concat(out).toString(), Buffer.concat(err).toString()];
      resolve({ exit, stdout, stderr, json: lastObject(stdout) });
    });
  });
  return { child, ended };
}

function lastObject(stdout: string): unknown {
  try {
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '');
  } catch {
    return undefined; // the test that wanted one says so
  }
}

/** A temporary folder, removed when the test passed. */
export function workFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));
  t.after(() => {
    if (passed(t)) execFileSync('rm', ['-rf', folder]);
    else t.diagnostic(`kept ${folder}`);
  });
  return folder;
}

export function writeFiles(folder: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** Node tells this in an after hook; its types do not know it yet. */
function passed(t: TestContext): boolean {
  return (t as TestContext & { readonly passed: boolean }).passed;
}
