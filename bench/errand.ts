/** One errand: a single run of a case, or the making of a preparation. Done here, or in a process of its own. */
import { spawn } from 'node:child_process';
import { cpSync } from 'node:fs';
import { workloads } from './catalogue.ts';
import { childProgram } from './plain.ts';
import type { DataSet } from './data.ts';
import { type Build, loadDoor } from './door.ts';
import { type Measurement, Meter } from './meter.ts';
import { preparations } from './preparation.ts';
import { type Scale, type ScaleName, scales } from './scale.ts';
import type { Place, PreparationName } from './workload.ts';

/** All of it can be written as JSON. */
export interface Errand {
  readonly task:
    | { readonly workload: string; readonly case: string }
    | { readonly prepare: PreparationName }
    | { readonly copy: string };
  readonly build: Build;
  readonly scale: ScaleName;
  readonly data: DataSet;
  readonly target: string;
  /** Folder in which each preparation has a folder of its name. */
  readonly preparedIn: string;
}

/** Does it in this process. Undefined for what measures nothing. */
export async function runErrand(errand: Errand): Promise<Measurement | undefined> {
  const { task, build, data, target, preparedIn } = errand;
  if ('copy' in task) {
    cpSync(task.copy, target, { recursive: true });
    return undefined;
  }
  const meter = new Meter();
  const door = await loadDoor(build);
  const scale = scales[errand.scale];
  const { threads } = scales[errand.scale] as Scale;
  const place: Place = {
    door,
    open: (directory, options) => door.openStore(directory, { ...(threads && { threads }), ...options }),
    build,
    data,
    scale,
    meter,
    target,
    prepared: (name: string) => `${preparedIn}/${name}`,
  };
  if ('prepare' in task) {
    await preparations[task.prepare](place);
    return undefined;
  }
  const workload = workloads.find(({ name }) => name === task.workload);
  const found = workload?.cases.find(({ name }) => name === task.case);
  if (found === undefined) throw new Error(`there is no case ${task.case} of ${task.workload}`);
  await found.run(place);
  return meter.result();
}

/** Does it in a process of its own, so that memory and the event loop are those of this errand alone. */
export async function sendErrand(errand: Errand): Promise<Measurement | undefined> {
  const child = spawn(process.execPath, [childProgram(), JSON.stringify(errand)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const pieces: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  const exit = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (exit !== 0)
    throw new Error(`the errand ${JSON.stringify(errand.task)} failed with exit ${String(exit)}`);
  const line = Buffer.concat(pieces).toString().trim().split('\n').at(-1)!;
  return (JSON.parse(line) as { measured?: Measurement }).measured;
}
