/** A process that copies an encrypted store into a replica without keys, by locators, without end; it tells of each root before and after. */
import { openSync, writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { pathToFileURL } from 'node:url';
import type { OpenOptions, SealedRoot, Store } from '../../engine/index.ts';
import { dyingHost } from './dying-host.ts';
import { seededRandom } from './random.ts';
import type { Death } from './struck.ts';

export interface SealerPlan {
  /** The engine's door; a broken copy for a mutant. */
  readonly entry: string;
  readonly source: string;
  readonly replica: string;
  readonly told: string;
  readonly death: Death;
  readonly seed: number;
  /** What each of a few roots was one after the other; all of it is there still. */
  readonly roots: readonly (readonly SealedRoot[])[];
}

export type SealerLine =
  { readonly k: 'begun' } | { readonly k: 'start' | 'done'; readonly root: number; readonly version: number };

async function seal(plan: SealerPlan): Promise<void> {
  const door = (await import(pathToFileURL(plan.entry).href)) as {
    openStore: (folder: string, options: OpenOptions) => Promise<Store>;
  };
  const random = seededRandom(plan.seed, 7);
  const fd = openSync(plan.told, 'a');
  const say = (line: SealerLine): void => void writeSync(fd, `${JSON.stringify(line)}\n`);
  const threads = { count: 0 } as const;
  // Without keys on both sides: what travels is what lies there.
  const source = await door.openStore(plan.source, { mode: 'read-only', threads });
  const replicaOf = await source.sealed.seed();
  const host = dyingHost();
  say({ k: 'begun' });
  if ('calls' in plan.death) host.dieAt(plan.death.calls);
  const replica = await door.openStore(plan.replica, { host, threads, replicaOf });
  // Where a cache is kept at all: who is killed writes none.
  flushCompileCache();
  for (;;) {
    const [root, version] = [random.below(plan.roots.length), random.below(plan.roots[0]!.length)];
    const next = plan.roots[root]![version]!;
    const before = (await replica.sealed.roots()).find(({ key }) => key === next.key);
    say({ k: 'start', root, version });
    const session = await replica.session();
    await copyBelow(source, replica, next.locator);
    await replica.sealed.setRoot(next, { expect: before?.locator ?? null });
    await session.end();
    say({ k: 'done', root, version });
    if (random.chance(0.4)) await replica.gc({ graceMs: 0 });
  }
}

/** What is linked to comes first. */
async function copyBelow(from: Store, to: Store, locator: string): Promise<void> {
  const { kind, size, manifest } = (await from.sealed.stat([locator]))[0]!;
  if (manifest !== undefined) {
    await copyBelow(from, to, manifest);
    return await to.sealed.putChunked(locator, manifest);
  }
  for (const link of (await from.sealed.links(locator))!) await copyBelow(from, to, link.locator);
  const bytes = (await from.sealed.read(locator, { offset: 0, length: size }))!;
  await to.sealed.put(bytes, { locator, kind });
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) await seal(JSON.parse(argument) as SealerPlan);
