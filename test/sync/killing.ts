/** Processes that replicate and are killed with SIGKILL, either end, at random moments; and what must hold when they try again. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import { type Random, seededBytes, seededRandom } from '../crash/random.ts';
import { smallParameters } from '../engine/store-folder.ts';
import { assertSame, closureOf, setTree } from './stores.ts';

const mib = 1024 * 1024;
const child = fileURLToPath(new URL('./replicating-child.ts', import.meta.url));
const options = { durability: 'relaxed', threads: { count: 0 }, parameters: smallParameters } as const;

export interface KillReport {
  kills: number;
  /** Of them, those before the transfer had ended by itself. */
  within: number;
  /** Content that came in the transfers that were not killed, and what was missing before them, bytes. */
  bytes: number;
  missing: number;
}

/** Throws when a root is there whose closure is not, when what was killed does not go on, or when much is sent twice. */
export async function runSyncKills(
  { seed, runs }: { readonly seed: number; readonly runs: number },
  onKill?: (report: KillReport) => void,
): Promise<KillReport> {
  const base = mkdtempSync(join(tmpdir(), 'holdfast-sync-kill-'));
  const [a, b] = [join(base, 'a'), join(base, 'b')];
  const random = seededRandom(seed);
  const report = { kills: 0, within: 0, bytes: 0, missing: 0 };
  for (const folder of [a, b]) await (await openStore(folder, options)).close();
  /** How long a transfer takes that nobody kills, ms, as far as is known. */
  let usualMs = 1500;
  /** What the replica's root is for certain, until a transfer has begun. */
  let settled: BlobId | undefined;
  for (let round = 0; report.kills < runs; round++) {
    await withStore(a, async (store) => {
      await setTree(store, 'main', someTree(random, round));
    });
    const direction = directions[random.below(directions.length)]!;
    for (let i = 0; i < 1 + random.below(3) && report.kills < runs; i++) {
      const pidFile = join(base, `pid ${report.kills}`);
      const running = start([a, b], direction, pidFile);
      const struck = Promise.withResolvers<void>();
      const timer = setTimeout(() => struck.resolve(), random.below(usualMs));
      await Promise.race([running.ended, struck.promise]);
      clearTimeout(timer);
      const under = running.child.exitCode === null;
      const served = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0;
      // The other end, this one, or both.
      const struckEnds = random.below(3);
      if (served > 0 && struckEnds !== 1) kill(served);
      if (served === 0 || struckEnds !== 0) running.child.kill('SIGKILL');
      await running.ended;
      // The other end notices by itself; it has the store open until then.
      if (served > 0) while (alive(served)) await sleep(5);
      report.kills++;
      if (under) report.within++;
      onKill?.(report);
    }
    const missing = await missingAt([a, b], settled);
    const began = performance.now();
    const rest = await start([a, b], direction, join(base, 'pid')).ended;
    usualMs = Math.max(300, Math.round(performance.now() - began));
    assert.equal(rest.exit, 0, rest.told);
    const { wire, bytes } = JSON.parse(rest.out) as { wire: number; bytes: number };
    assert.ok(wire <= 1.05 * missing + 1.1 * mib, `round ${round}: ${wire} bytes for ${missing} missing`);
    report.bytes += bytes;
    report.missing += missing;
    await withStore(a, (source) =>
      withStore(b, async (replica) => {
        await assertSame(source, replica, ['main']);
        settled = await replica.roots.get('main');
        const { damaged, recounted } = await replica.scrub();
        assert.deepEqual([damaged, recounted], [[], 0]);
      }),
    );
  }
  rmSync(base, { recursive: true });
  return report;
}

/** Some files anew each round, some of the round before, one of some MiB now and then. */
function someTree(random: Random, round: number): Map<string, Uint8Array> {
  const tree = new Map(
    Array.from({ length: 150 }, (_, i) => {
      const version = i % 3 === 0 ? 0 : round;
      return [`file ${i}`, seededBytes(1000 * version + i, 4000 + (i % 7) * 6000)];
    }),
  );
  if (random.chance(0.3)) tree.set('large', seededBytes(round, 3 * mib));
  return tree;
}

async function withStore(folder: string, work: (store: Store) => Promise<void>): Promise<void> {
  const store = await openStore(folder, { ...options, mode: 'open' });
  try {
    await work(store);
  } finally {
    await store.close();
  }
}

/** Bytes of the closure that are not in the replica; its root is what it was or what it shall be, and is there as a whole. */
async function missingAt([a, b]: readonly [string, string], was: BlobId | undefined): Promise<number> {
  let missing = 0;
  await withStore(a, (source) =>
    withStore(b, async (replica) => {
      const roots = await replica.roots.list();
      const becomes = (await source.roots.get('main'))!;
      assert.ok(roots.length <= 1, 'a root that nobody sent');
      if (roots.length === 0) assert.equal(was, undefined, 'the root is gone');
      for (const { id } of roots) {
        assert.ok(
          id === was || id === becomes,
          `the root is ${id}, neither what it was nor what it shall be`,
        );
        await closureOf(replica, id);
      }
      const wanted = await closureOf(source, becomes);
      const ids = [...wanted.keys()].map((key) => key.split(' ')[1]!);
      const here = await replica.hasMany(ids);
      for (const [i, bytes] of [...wanted.values()].entries())
        if (!here.has(ids[i]!)) missing += bytes.length;
    }),
  );
  return missing;
}

/** Pulls and pushes between two processes; streams within one. */
const directions = ['pull', 'push', 'stream'] as const;

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly exit: number | null; readonly out: string; readonly told: string }>;
}

function start(
  [a, b]: readonly [string, string],
  direction: (typeof directions)[number],
  pidFile: string,
): Running {
  const args = direction === 'push' ? [a, direction, b] : [b, direction, a];
  const running = spawn(process.execPath, ['--no-warnings', child, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOLDFAST_PID_FILE: pidFile },
  });
  let [out, told] = ['', ''];
  running.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  running.stderr.on('data', (bytes: Buffer) => (told += bytes.toString()));
  const ended = new Promise<{ exit: number | null; out: string; told: string }>((resolve) => {
    running.on('close', (exit) => resolve({ exit, out, told }));
  });
  return { child: running, ended };
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
