// The store under test as the crash tools see it: the real engine, a patched copy of it, or the stand-in of the self-test.
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { openStandIn, type Flaw } from './stand-in.ts';
import type { StoreUnderTest } from './store-under-test.ts';

/** Which store to open; plain data, so that it travels to child processes in JSON. */
export type Subject =
  | { readonly kind: 'engine'; readonly entry: string }
  | { readonly kind: 'stand-in'; readonly flaws: readonly Flaw[] };

export const engineSubject: Subject = {
  kind: 'engine',
  entry: new URL('../../engine/index.ts', import.meta.url).pathname,
};

/** Why the engine cannot be tested; undefined when it can. */
export function engineMissing(): string | undefined {
  return existsSync(new URL('../../engine/index.ts', import.meta.url))
    ? undefined
    : 'there is no engine/index.ts yet';
}

/** What opens an encrypted store. */
export const encryption = { secret: { kind: 'raw-key', key: new Uint8Array(32).fill(5) } } as const;

/** Loads the code once; the function it returns opens stores. */
export async function loadSubject(
  subject: Subject,
): Promise<(dir: string, options?: object) => Promise<StoreUnderTest>> {
  if (subject.kind === 'stand-in') return (dir) => openStandIn(dir, new Set(subject.flaws));
  const module = (await import(pathToFileURL(subject.entry).href)) as {
    openStore(dir: string, options?: object): Promise<StoreUnderTest>;
  };
  return (dir, options) => module.openStore(dir, options);
}

/** The id a root points to, however the store wraps it; null when there is no such root. */
export function rootValue(value: Awaited<ReturnType<StoreUnderTest['roots']['get']>>): string | null {
  if (value === undefined || value === null) return null;
  return typeof value === 'string' ? value : value.id;
}
