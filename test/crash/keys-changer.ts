/** A process that changes the keys of a store without end: ways in come and go, epochs turn, blobs are put; it tells of each before and after. */
import { openSync, writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { type Secret, openStore } from '../../engine/index.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { dyingHost } from './dying-host.ts';
import { seededBytes, seededRandom } from './random.ts';
import type { Death } from './struck.ts';

export interface KeysPlan {
  readonly store: string;
  readonly told: string;
  readonly death: Death;
  readonly seed: number;
  /** Secrets that open it, by number: the slots of those whose slots are known. The first one opens it here. */
  readonly secrets: readonly (readonly [number, string | null])[];
  /** The numbers of new secrets and new blobs begin here. */
  readonly next: number;
}

/** `secrets`: those that are in when it is done; all others are out then, or stay as they are where it says `add` or `remove`. */
export type KeysLine =
  | { readonly k: 'opened' }
  | { readonly k: 'start' | 'done'; readonly op: 'add'; readonly secret: number; readonly slot?: string }
  | { readonly k: 'start' | 'done'; readonly op: 'remove'; readonly secret: number }
  | { readonly k: 'start' | 'done'; readonly op: 'renew'; readonly secrets: readonly number[] }
  | { readonly k: 'start' | 'done'; readonly op: 'rotate' | 'reseal' }
  | { readonly k: 'start' | 'done'; readonly op: 'put'; readonly blob: number };

export function secretOf(n: number): Secret {
  const bytes = seededBytes(700_000 + n, 32);
  return n % 2 === 0 ? { kind: 'raw-key', key: bytes } : { kind: 'key-file', content: bytes };
}

/** Small ones, and now and then a file. */
export function blobOf(n: number): Uint8Array {
  return seededBytes(900_000 + n, n % 5 === 0 ? 20_000 + n : 100 + (n % 300));
}

const secretsMax = 5;

async function change(plan: KeysPlan): Promise<void> {
  const ways = new Map(plan.secrets);
  const [first] = ways.keys();
  const random = seededRandom(plan.seed, 3);
  const host = dyingHost();
  const store = await openStore(plan.store, {
    host,
    threads: { count: 0 },
    parameters: smallParameters,
    encryption: { secret: secretOf(first!) },
  });
  const fd = openSync(plan.told, 'a');
  const say = (line: KeysLine): void => void writeSync(fd, `${JSON.stringify(line)}\n`);
  say({ k: 'opened' });
  // Where a cache is kept at all: who is killed writes none.
  flushCompileCache();
  if ('calls' in plan.death) host.dieAt(plan.death.calls);
  for (let { next } = plan; ; next++) {
    const removable = [...ways].flatMap(([n, slot]) => (slot === null ? [] : [[n, slot] as const]));
    const dice = random.below(100);
    if (dice < 30 && ways.size < secretsMax) {
      say({ k: 'start', op: 'add', secret: next });
      const { id } = await store.keys.add(secretOf(next));
      say({ k: 'done', op: 'add', secret: next, slot: id });
      ways.set(next, id);
    } else if (dice < 55 && ways.size > 1 && removable.length > 0) {
      const [secret, slot] = random.pick(removable);
      say({ k: 'start', op: 'remove', secret });
      await store.keys.remove(slot);
      say({ k: 'done', op: 'remove', secret });
      ways.delete(secret);
    } else if (dice < 70) {
      say({ k: 'start', op: 'rotate' });
      await store.keys.rotate();
      say({ k: 'done', op: 'rotate' });
    } else if (dice < 78) {
      const secrets = [random.pick([...ways.keys()]), next];
      say({ k: 'start', op: 'renew', secrets });
      await store.keys.renew(secrets.map(secretOf));
      say({ k: 'done', op: 'renew', secrets });
      ways.clear();
      for (const secret of secrets) ways.set(secret, null);
    } else if (dice < 84) {
      say({ k: 'start', op: 'reseal' });
      await store.keys.reseal();
      say({ k: 'done', op: 'reseal' });
    } else {
      say({ k: 'start', op: 'put', blob: next });
      await store.put(blobOf(next), { owner: 'me' });
      say({ k: 'done', op: 'put', blob: next });
    }
  }
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) await change(JSON.parse(argument) as KeysPlan);
