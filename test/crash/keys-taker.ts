/** A process that takes newer files of keys into a replica, one after the other, without end; it tells of each before and after. */
import { openSync, readFileSync, writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { type KeysTaken, openStore } from '../../engine/index.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { dyingHost } from './dying-host.ts';
import { secretOf } from './keys-changer.ts';
import type { Death } from './struck.ts';

export interface TakerPlan {
  readonly replica: string;
  readonly told: string;
  readonly death: Death;
  /** The number of a secret that opens it; without one what comes waits. */
  readonly secret: number | null;
  /** Paths of the files of keys, rising; then they come again. */
  readonly files: readonly string[];
  readonly from: number;
}

export type TakerLine =
  | { readonly k: 'opened' }
  | { readonly k: 'start'; readonly file: number }
  | { readonly k: 'done'; readonly file: number; readonly state: KeysTaken };

async function take(plan: TakerPlan): Promise<void> {
  const host = dyingHost();
  const store = await openStore(plan.replica, {
    host,
    threads: { count: 0 },
    parameters: smallParameters,
    ...(plan.secret === null ? {} : { encryption: { secret: secretOf(plan.secret) } }),
  });
  const fd = openSync(plan.told, 'a');
  const say = (line: TakerLine): void => void writeSync(fd, `${JSON.stringify(line)}\n`);
  say({ k: 'opened' });
  // Where a cache is kept at all: who is killed writes none.
  flushCompileCache();
  if ('calls' in plan.death) host.dieAt(plan.death.calls);
  for (let file = plan.from; ; file = file + 1 < plan.files.length ? file + 1 : plan.from) {
    say({ k: 'start', file });
    const state = await store.sealed.takeKeys(new Uint8Array(readFileSync(plan.files[file]!)));
    say({ k: 'done', file, state });
  }
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) await take(JSON.parse(argument) as TakerPlan);
