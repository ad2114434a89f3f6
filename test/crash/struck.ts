/** Processes that are killed at a random moment of their work, and what they had told by then. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.ts';

export interface Struck<Line> {
  /** What it told, without a torn last line. */
  readonly lines: readonly Line[];
  /** How it ended, where it was not by SIGKILL: these processes do not end otherwise. */
  readonly trouble: string | undefined;
}

/** When a process dies: before so many calls on files, by itself, or so many ms after its first line. */
export type Death = { readonly calls: number } | { readonly ms: number };

/** Most die at a call: there are few of them in what matters, and it takes a millisecond. */
export function someDeath(random: Random, most: { readonly calls: number; readonly ms: number }): Death {
  return random.chance(0.75) ? { calls: 1 + random.below(most.calls) } : { ms: random.below(most.ms) };
}

/** It kills itself long before. */
const patienceMs = 900_000;

/**
 * Starts `script` with `argument` as JSON; it appends lines of JSON to `told`, the first one when its work begins, and dies as its
 * argument says. `meanwhile` is done again and again until then.
 */
export async function strike<Line>(
  script: string,
  argument: { readonly told: string; readonly death: Death },
  meanwhile?: () => Promise<void>,
): Promise<Struck<Line>> {
  const { told, death } = argument;
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
  const due = performance.now() + ('ms' in death ? death.ms : patienceMs);
  do {
    await meanwhile?.();
    await sleep(Math.min(2, Math.max(0, due - performance.now())));
  } while (runs() && performance.now() < due);
  child.kill('SIGKILL');
  const how = await ended;
  const text = existsSync(told) ? readFileSync(told, 'utf8') : '';
  rmSync(told, { force: true });
  const lines = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
  return { lines, trouble: how === 'SIGKILL' ? undefined : `ended by itself with ${how}: ${stderr}` };
}
