/** A process that borrows from a base without end: it adds the base, puts what it has, lets go, dissociates, removes it; it tells of each before and after. */
import { createHash } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { StoreError, openStore } from '../../engine/index.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { dyingHost } from './dying-host.ts';
import { seededBytes, seededRandom } from './random.ts';
import type { Death } from './struck.ts';

export interface BorrowerPlan {
  readonly store: string;
  readonly base: string;
  readonly told: string;
  readonly death: Death;
  readonly seed: number;
  /** Contents that the base has had, by number: from the first to before the last. */
  readonly contents: readonly [number, number];
  /** What it holds already. */
  readonly held: readonly (readonly [number, string])[];
}

export type BorrowerLine =
  | { readonly k: 'begun' }
  | { readonly k: 'start' | 'done'; readonly op: 'hold' | 'drop'; readonly n: number; readonly id: string }
  | { readonly k: 'start'; readonly op: 'dissociate' }
  | { readonly k: 'done'; readonly op: 'dissociate'; readonly blobs: number };

/** Records, and now and then a file. */
export function contentOf(n: number): Uint8Array {
  return seededBytes(300_000 + n, n % 4 === 0 ? 17_000 + (n % 500) : 50 + (n % 700));
}

/** What a blob is held for. */
export const holder = 'borrower';

async function borrow(plan: BorrowerPlan): Promise<void> {
  const { store: path, base, told, contents } = plan;
  const random = seededRandom(plan.seed, 6);
  const fd = openSync(told, 'a');
  const say = (line: BorrowerLine): void => void writeSync(fd, `${JSON.stringify(line)}\n`);
  say({ k: 'begun' });
  const host = dyingHost();
  const store = await openStore(path, { host, threads: { count: 0 }, parameters: smallParameters });
  if ('calls' in plan.death) host.dieAt(plan.death.calls);
  await store.alternates.add(base);
  // Where a cache is kept at all: who is killed writes none.
  flushCompileCache();
  const held = new Map(plan.held);
  for (;;) {
    const dice = random.below(100);
    if (dice < 65) {
      const n = contents[0] + random.below(contents[1] - contents[0]);
      const bytes = contentOf(n);
      const id = createHash('sha256').update(bytes).digest('hex');
      say({ k: 'start', op: 'hold', n, id });
      // What it holds it may also name, without having the bytes.
      if (held.has(n) && random.chance(0.5)) await store.retain(id, holder);
      else await store.put(bytes, { owner: holder });
      say({ k: 'done', op: 'hold', n, id });
      held.set(n, id);
    } else if (dice < 85 && held.size > 0) {
      const [n, id] = random.pick([...held]);
      say({ k: 'start', op: 'drop', n, id });
      await store.release(id, holder);
      say({ k: 'done', op: 'drop', n, id });
      held.delete(n);
    } else if (dice < 90) await store.gc({ graceMs: 0 });
    else if (dice < 95) {
      say({ k: 'start', op: 'dissociate' });
      const { blobs } = await store.dissociate();
      say({ k: 'done', op: 'dissociate', blobs });
      await store.alternates.add(base);
    } else {
      // Refused while something is borrowed.
      await store.alternates.remove(base).catch((error: unknown) => {
        if (!StoreError.is(error, 'conflict')) throw error;
      });
      await store.alternates.add(base);
    }
  }
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) await borrow(JSON.parse(argument) as BorrowerPlan);
