/** Kills with SIGKILL a replica without keys while sealed objects and roots come in: what was acknowledged opens with the source's secret. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type SealedRoot, type Store, StoreError, openStore } from '../../engine/index.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { seededBytes, seededRandom } from './random.ts';
import { freshFolder } from './recorded-run.ts';
import type { SealerLine, SealerPlan } from './sealer.ts';
import { someDeath, strike } from './struck.ts';
import { type Mutant, buildMutant } from './mutants.ts';
import { type Subject, encryption, engineSubject } from './subject.ts';

const script = fileURLToPath(new URL('./sealer.ts', import.meta.url));
const threads = { count: 0 } as const;
const killsPerStore = 12;
/** Each root is each of these in turn: a small blob, a large one, a chunked one, and a node of two of them. */
const versions = 4;
const names = ['one root', 'another', 'a third'];

export interface SealedKillReport {
  kills: number;
  /** Roots that were acknowledged, over all kills. */
  acknowledged: number;
  /** Kills between the first step to a root and its acknowledgement. */
  within: number;
}

/** A broken build that only a death shows: the root is told to be set before it is. */
export const sealedMutant: Mutant = {
  name: 'a sealed root is acknowledged before its commit',
  patches: [
    {
      file: 'engine/sealed-facet.ts',
      find: 'writing(() => submit(rootChange(root, expect)))',
      replace:
        'writing(async () => void setTimeout(() => void submit(rootChange(root, expect)).catch(() => undefined), 20))',
    },
  ],
};

/** The problem by which kills show the broken build; undefined where they do not. */
export async function huntSealedMutant(seed: number, runs: number): Promise<string | undefined> {
  const copy = buildMutant(sealedMutant);
  const folder = freshFolder('sealed-mutant');
  try {
    await killsIn(folder, { seed, runs, subject: copy.subject });
    return undefined;
  } catch (error) {
    if (!(error instanceof assert.AssertionError)) throw error;
    return error.message;
  } finally {
    copy.remove();
    rmSync(folder, { recursive: true });
  }
}

/** Throws at the first promise that is broken, and keeps the folder. */
export async function runSealedKills(
  { seed, runs }: { readonly seed: number; readonly runs: number },
  onKill?: (report: SealedKillReport) => void,
): Promise<SealedKillReport> {
  const folder = freshFolder('sealed-kill');
  const report = await killsIn(folder, { seed, runs, subject: engineSubject, onKill });
  rmSync(folder, { recursive: true });
  return report;
}

async function killsIn(
  folder: string,
  {
    seed,
    runs,
    subject,
    onKill,
  }: {
    readonly seed: number;
    readonly runs: number;
    readonly subject: Subject;
    readonly onKill?: ((report: SealedKillReport) => void) | undefined;
  },
): Promise<SealedKillReport> {
  if (subject.kind !== 'engine') throw new Error('only the engine has replicas without keys');
  const { entry } = subject;
  const random = seededRandom(seed, 8);
  const report: SealedKillReport = { kills: 0, acknowledged: 0, within: 0 };
  for (let number = 0; report.kills < runs; number++) {
    const area = join(folder, `pair-${number}`);
    mkdirSync(area);
    const source = join(area, 'source');
    const { roots, contents } = await makeSource(source, seed * 1009 + number);
    /** By root, which versions it may have; undefined is none. */
    const allowed = names.map((): (number | undefined)[] => [undefined]);
    for (let kill = 0; kill < killsPerStore && report.kills < runs; kill++) {
      const plan: SealerPlan = {
        entry,
        source,
        replica: join(area, 'replica'),
        told: join(area, 'told'),
        death: someDeath(random, { calls: random.pick([60, 1000]), ms: 300 }),
        seed: seed * 10_007 + report.kills,
        roots,
      };
      const where = `after kill ${report.kills} in ${area}`;
      const { lines, trouble } = await strike<SealerLine>(script, plan);
      assert.equal(trouble, undefined, where);
      report.kills++;
      for (const line of lines) {
        if (line.k === 'begun') continue;
        if (line.k === 'done') {
          allowed[line.root] = [line.version];
          report.acknowledged++;
        } else allowed[line.root]!.push(line.version);
      }
      if (lines.at(-1)?.k === 'start') report.within++;
      await judge(plan.replica, { allowed, contents, where });
      onKill?.(report);
    }
    rmSync(area, { recursive: true });
  }
  return report;
}

interface Made {
  /** By root and version, as it is sealed. */
  readonly roots: SealedRoot[][];
  /** By root and version: what it points to, and the bytes that are to be read there and below. */
  readonly contents: { readonly id: string; readonly blobs: readonly (readonly [string, Uint8Array])[] }[][];
}

async function makeSource(path: string, seed: number): Promise<Made> {
  const store = await openStore(path, {
    threads,
    parameters: smallParameters,
    encryption,
    compression: 'auto',
  });
  const made: Made = { roots: [], contents: [] };
  for (const [r, name] of names.entries()) {
    const known = new Set((await store.sealed.roots()).map(({ key }) => key));
    made.roots.push([]);
    made.contents.push([]);
    const blobs: [string, Uint8Array][] = [];
    for (let version = 0; version < versions; version++) {
      const bytes = seededBytes(seed * 31 + r * versions + version, [300, 30_000, 90_000, 500][version]!);
      const links = version === 3 ? blobs.map(([id]) => ({ kind: 'raw', id }) as const) : undefined;
      const chunking = version === 2 ? 'fastcdc' : 'off';
      const { id } = await store.put(
        bytes,
        links === undefined ? { owner: 'kept', chunking } : { owner: 'kept', links },
      );
      await store.roots.set(name, id);
      made.roots[r]!.push((await store.sealed.roots()).find(({ key }) => !known.has(key))!);
      if (links === undefined) blobs.push([id, bytes]);
      made.contents[r]!.push({ id, blobs: links === undefined ? [[id, bytes]] : [...blobs] });
    }
  }
  await store.close();
  return made;
}

/** Opened by the secret of its source. Roots become what they turned out to be. */
async function judge(
  path: string,
  given: {
    readonly allowed: (number | undefined)[][];
    readonly contents: Made['contents'];
    readonly where: string;
  },
): Promise<void> {
  const { allowed, contents, where } = given;
  let store: Store;
  try {
    store = await openStore(path, { mode: 'open', threads, encryption });
  } catch (error) {
    // Killed before there was a store.
    assert.ok(StoreError.is(error, 'not-a-store'), `${where}: ${String(error)}`);
    assert.ok(
      allowed.every((one) => one.includes(undefined)),
      where,
    );
    return;
  }
  const listed = new Map((await store.roots.list()).map(({ name, id }) => [name, id]));
  for (const [r, name] of names.entries()) {
    const id = listed.get(name);
    const version = contents[r]!.findIndex((one) => one.id === id);
    const found = version < 0 ? undefined : version;
    assert.ok(id === undefined || found !== undefined, `${name} is ${id}, ${where}`);
    assert.ok(allowed[r]!.includes(found), `${name} is ${found}, not one of ${allowed[r]!.join()}, ${where}`);
    allowed[r] = [found];
    for (const [blob, bytes] of found === undefined ? [] : contents[r]![found]!.blobs) {
      const got = await store.get(blob);
      assert.ok(got !== undefined && Buffer.compare(got, bytes) === 0, `${name}: ${blob} is lost, ${where}`);
    }
  }
  await store.gc({ graceMs: 0 });
  const { damaged, recounted, badRows } = await store.scrub();
  assert.deepEqual([damaged, recounted, badRows], [[], 0, 0], where);
  await store.close();
}
