/** Processes that are killed at a random moment of their work, and what they had told by then. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Struck<Line> {
  /** What it told, without a torn last line. */
  readonly lines: readonly Line[];
  /** How it ended, where nobody killed it: these processes do not end by themselves. */
  readonly trouble: string | undefined;
}

/**
 * Starts `script` with `argument` as JSON; it appends lines of JSON to `told`, the first one when its work begins. So many
 * milliseconds after that one it is killed. `meanwhile` is done again and again until then.
 */
export async function strike<Line>(
  script: string,
  argument: { readonly told: string },
  { afterMs, meanwhile }: { readonly afterMs: number; readonly meanwhile?: () => Promise<void> },
): Promise<Struck<Line>> {
  const { told } = argument;
  const child = spawn(process.execPath, [script, JSON.stringify(argument)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => (stderr = (stderr + data.toString()).slice(-4000)));
  const runs = (): boolean => child.exitCode === null && child.signalCode === null;
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(String(signal ?? code)));
  });
  const hasBegun = (): boolean => existsSync(told) && statSync(told).size > 0;
  while (runs() && !hasBegun()) await sleep(2);
  const due = performance.now() + afterMs;
  do {
    await meanwhile?.();
    await sleep(Math.min(2, Math.max(0, due - performance.now())));
  } while (runs() && performance.now() < due);
  const alive = runs();
  child.kill('SIGKILL');
  const how = await ended;
  const text = existsSync(told) ? readFileSync(told, 'utf8') : '';
  rmSync(told, { force: true });
  const lines = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
  return { lines, trouble: alive ? undefined : `ended by itself with ${how}: ${stderr}` };
}
