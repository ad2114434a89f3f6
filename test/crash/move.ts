// The campaign of moves: a process that reduces and moves volumes dies at random moments; nothing is lost, and whoever comes next ends the move.
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type BlobId, type Store, openStore } from '../../engine/index.ts';
import type { MoverReport } from './mover.ts';
import { seededBytes, seededRandom } from './random.ts';
import { freshFolder } from './recorded-run.ts';

export interface MoveOptions {
  readonly seed: number;
  readonly kills: number;
  /** Copies of each blob; 1 is a group that is not mirrored. */
  readonly copies: number;
  /** Kills before everything is checked, removed and begun anew. */
  readonly killsPerStore?: number;
  readonly onKill?: (report: MoveReport) => void;
}

export interface MoveReport {
  readonly kills: number;
  /** Kills that came in the middle of a step of moving. */
  readonly interrupted: number;
  readonly acknowledged: number;
  readonly losses: readonly { readonly kill: number; readonly problem: string; readonly folder: string }[];
  readonly seconds: number;
}

const parameters = { smallMax: 16_384, extentBytes: 16_384, chunkBytes: 4096, volumeBytesMax: 1024 * 1024 };
const script = fileURLToPath(new URL('./mover.ts', import.meta.url));

/** The decisions come from the seed; the exact moment of a kill does not repeat, so the folder is what a failure leaves. */
export async function runMoves(options: MoveOptions): Promise<MoveReport> {
  const { kills, seed, copies, killsPerStore = 10 } = options;
  const random = seededRandom(seed, 3);
  const started = performance.now();
  const report = { kills: 0, interrupted: 0, acknowledged: 0, losses: [] as MoveReport['losses'][number][] };
  const told = (): MoveReport => ({ ...report, seconds: (performance.now() - started) / 1000 });
  while (report.kills < kills) {
    const base = freshFolder('move');
    const run = new Run(base, copies);
    try {
      await run.begin(seed * 1000 + report.kills);
      for (let i = 0; i < killsPerStore && report.kills < kills; i++) {
        const { puts, interrupted } = await run.kill(seed * 1000 + report.kills, random.below(250));
        report.kills++;
        report.acknowledged += puts;
        if (interrupted) report.interrupted++;
        await run.check();
        options.onKill?.(told());
      }
      await run.end();
      rmSync(base, { recursive: true, force: true });
    } catch (error) {
      report.losses.push({ kill: report.kills, problem: String((error as Error).stack), folder: base });
    }
  }
  return told();
}

class Run {
  readonly #path: string;
  readonly #side: string;
  readonly #copies: number;
  readonly #ids = new Set<BlobId>();

  constructor(base: string, copies: number) {
    this.#path = join(base, 'store');
    this.#side = join(base, 'side');
    this.#copies = copies;
    mkdirSync(this.#side);
  }

  async begin(seed: number): Promise<void> {
    const store = await openStore(this.#path, { threads: { count: 0 }, parameters });
    const sizes = Array.from({ length: 260 }, (_, i) => (i % 5 === 0 ? 20_000 + 500 * i : 6000 + 10 * i));
    const puts = sizes.map((size, i) => store.put(seededBytes(seed * 7919 + i, size), { owner: 'x' }));
    for (const { id } of await Promise.all(puts)) this.#ids.add(id);
    if (this.#copies > 1) {
      for (const suffix of ['', '-2'])
        for (const kind of ['directory', 'sqlite'] as const)
          await store.volumes.extend(join(this.#side, `${kind}${suffix}`), { kind, allocation: 'striped' });
      await store.volumes.mirror(this.#copies);
    }
    await store.close();
  }

  /** Runs the mover until a step has begun, some time more, and kills it. */
  async kill(seed: number, milliseconds: number): Promise<{ puts: number; interrupted: boolean }> {
    const args = [this.#path, this.#side, String(seed), String(this.#copies)];
    const child = fork(script, args, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], execArgv: [] });
    let stderr = '';
    let step: string | undefined;
    let puts = 0;
    child.stderr!.on('data', (bytes: Buffer) => void (stderr += bytes.toString()));
    const begun = new Promise<void>((resolve) => {
      child.on('message', (report: MoverReport) => {
        if ('put' in report) {
          puts++;
          this.#ids.add(report.put);
        } else if ('begins' in report) {
          step = report.begins;
          if (step !== 'compact') resolve();
        } else step = undefined;
      });
    });
    const ended = new Promise<string>((resolve) =>
      child.on('exit', (code, signal) => resolve(String(signal ?? code))),
    );
    await Promise.race([begun, ended]);
    await Promise.race([sleep(milliseconds), ended]);
    child.kill('SIGKILL');
    const end = await ended;
    if (end !== 'SIGKILL') throw new Error(`the mover ended by itself (${end}): ${stderr}`);
    return { puts, interrupted: step !== undefined };
  }

  /** As the next process finds it, before anything was mended. */
  async check(): Promise<void> {
    const store = await openStore(this.#path, { mode: 'open', threads: { count: 0 } });
    try {
      await this.#readsAll(store);
      if (this.#copies > 1)
        for (const id of this.#ids)
          if ((await store.stat(id))!.copies < this.#copies) throw new Error(`${id} has lost a copy`);
      const { blocked } = await store.gc({ graceMs: 0 });
      if (blocked !== undefined) throw new Error(`collection is blocked: ${blocked}`);
    } finally {
      await store.close();
    }
  }

  /** Every move ends when it is asked for again, and leaves nothing behind. */
  async end(): Promise<void> {
    const store = await openStore(this.#path, { mode: 'open', threads: { count: 0 } });
    try {
      await store.compact();
      const draining = (await store.volumes.list()).filter(({ state }) => state === 'draining');
      if (draining.length > 0) throw new Error(`${draining[0]!.id} is draining still`);
      if (this.#copies > 1) await store.volumes.mirror(1);
      const others = (await store.volumes.list()).filter(
        ({ id, kind }) => kind === 'folder' || (kind === 'directory' && id !== 'blobs'),
      );
      for (const { id } of others) await store.volumes.reduce(id);
      await this.#readsAll(store);
      const { adopted, damaged, recounted, badRows } = await store.scrub();
      if (adopted + damaged.length + recounted + badRows > 0)
        throw new Error(`a scrub found ${JSON.stringify({ adopted, damaged, recounted, badRows })}`);
      await store.gc({ graceMs: 0 });
      const left = bytesIn(this.#side);
      if (left.length > 0) throw new Error(`left behind: ${left.join(' ')}`);
      const [own] = await store.volumes.list();
      const files = bytesIn(join(this.#path, 'blobs')).length;
      if (files !== own!.blobs) throw new Error(`${files} files for ${own!.blobs} blobs`);
    } finally {
      await store.close();
    }
  }

  async #readsAll(store: Store): Promise<void> {
    for (const id of this.#ids) {
      const bytes = await store.get(id);
      if (bytes === undefined) throw new Error(`${id} is lost`);
      if (createHash('sha256').update(bytes).digest('hex') !== id) throw new Error(`${id} has other bytes`);
    }
  }
}

/** Files of blobs and SQLite volumes below a folder. */
function bytesIn(path: string): string[] {
  return readdirSync(path, { recursive: true })
    .map(String)
    .filter((name) => /[0-9a-f]{64}\.|\.db$/.test(name));
}
