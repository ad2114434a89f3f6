/** Why a collection must not begin: each of these could make what is needed look like what nobody needs. */
import type { Catalog } from '../catalog/catalog.ts';
import { waitingGap } from '../catalog/gap.ts';
import type { VolumeRow } from '../catalog/group.ts';
import type { VolumeSet } from '../commit/volume-set.ts';
import type { Host } from '../host.ts';

/** The wall clock may run ahead of the monotonic one by this much before a jump is suspected. */
const clockJumpMs = 60 * 60 * 1000;

/** What is asked. */
export interface DoubtContext {
  readonly catalog: Catalog;
  readonly volumes: VolumeSet;
  readonly host: Host;
  /** Both clocks as this process opened the store. */
  readonly opened: { readonly wallMs: number; readonly monotonicMs: number };
  /** Why an alternate cannot be used; undefined when all can, or there is none. */
  readonly alternateTrouble: () => string | undefined;
}

/** The first reason that is found, in words; empty when there is none. */
export async function doubtOf(context: DoubtContext, graceMs: number): Promise<string> {
  const { catalog } = context;
  return (
    clockDoubt(context, graceMs) ??
    (await missingVolume(context)) ??
    context.alternateTrouble() ??
    (waitingGap(catalog.sql) || catalog.state().doubt)
  );
}

/** A look at each, with turns for others in between: there may be thousands. */
async function missingVolume({ volumes, host }: DoubtContext): Promise<string | undefined> {
  const standing = (n: number): VolumeRow | undefined => volumes.rows().find((row) => row.n === n);
  for (const { n } of volumes.rows()) {
    const row = standing(n);
    const trouble = row === undefined ? undefined : volumes.trouble(row);
    // One that was emptied and removed meanwhile, by anybody, is missed by nobody.
    if (trouble !== undefined && standing(n) !== undefined) return trouble;
    await host.clock.yield();
  }
  return undefined;
}

/**
 * A wall clock that jumped forward would end every grace at once. While the store is open it is seen by the monotonic clock; then collection
 * waits until the store is reopened. Between two commits a month or more apart it cannot be told from time that passed: then it waits for
 * one grace, so that who sees a wrong clock in time loses nothing.
 */
function clockDoubt({ host, opened, catalog }: DoubtContext, graceMs: number): string | undefined {
  const wall = host.clock.now() - opened.wallMs;
  const monotonic = host.clock.monotonic() - opened.monotonicMs;
  const minutes = Math.round((wall - monotonic) / 60_000);
  if (wall - monotonic > clockJumpMs)
    return `the clock jumped forward by ${minutes} minutes since the store was opened; reopen it when the time is right`;
  const { leaptMs, clockMs } = catalog.state();
  const untilMs = (leaptMs ?? Number.NEGATIVE_INFINITY) + graceMs;
  if (Math.max(clockMs, host.clock.now()) >= untilMs) return undefined;
  return `the clock is a month or more ahead of when the store was last written to; if that is right, collection goes on after ${new Date(untilMs).toISOString()}`;
}
