/** Several processes on one store at once: what any of them was promised is there, and no collection takes what is held. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BlobId } from '../../engine/index.ts';
import { sample } from '../crash/sample.ts';
import { type ChildReport, contentOf } from './processes-child.ts';
import { sha256, storeTest } from './store-folder.ts';

const script = fileURLToPath(new URL('./processes-child.ts', import.meta.url));

/** A child of the test, and what it said so far. */
class Child {
  readonly process: ChildProcess;
  readonly #reports: ChildReport[] = [];
  readonly #exit: Promise<void>;
  #heard = (): void => {};

  constructor(...args: readonly string[]) {
    this.process = fork(script, args, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'], execArgv: [] });
    let stderr = '';
    this.process.stderr!.on('data', (bytes: Buffer) => void (stderr += bytes.toString()));
    this.process.on('message', (report: ChildReport) => {
      this.#reports.push(report);
      this.#heard();
    });
    this.#exit = new Promise((resolve, reject) => {
      this.process.on('close', (code, signal) => {
        if (code === 0) resolve();
        else reject(new Error(`${args.join(' ')} ended with ${String(code ?? signal)}: ${stderr}`));
      });
    });
    this.#exit.catch(() => undefined);
  }

  /** The report with this state, once it has come. */
  async state(state: ChildReport['state']): Promise<ChildReport> {
    for (;;) {
      const found = this.#reports.find((report) => report.state === state);
      if (found !== undefined) return found;
      const heard = new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
      await Promise.race([heard, this.#exit]);
      if (this.process.exitCode !== null && !this.#reports.some((report) => report.state === state))
        await this.#exit.then(() => assert.fail(`ended without being ${state}`));
    }
  }

  go(): void {
    this.process.send('go');
  }

  async ended(): Promise<void> {
    await this.#exit;
  }
}

storeTest(
  'three processes put at once while a fourth collects: everything acknowledged is there',
  async (folder) => {
    const count = sample(160, 40);
    await (await folder.open()).close();
    const collector = new Child('collect', folder.path);
    await collector.state('ready');
    const writers = [0, 1, 2].map((n) => new Child('put', folder.path, String(n), String(count)));
    const reports = await Promise.all(writers.map((writer) => writer.state('done')));
    collector.go();
    const { rounds } = await collector.state('done');
    assert.ok(rounds! >= 3, `${rounds} collections`);
    await Promise.all([...writers, collector].map((child) => child.ended()));

    const store = await folder.open({ mode: 'open' });
    for (const [writer, { ids }] of reports.entries()) {
      const expected = new Set(Array.from({ length: count }, (_, i) => sha256(contentOf(writer, i))));
      assert.deepEqual(new Set(ids), expected, `writer ${writer} was acknowledged all it put`);
      for (const id of expected) {
        const bytes = await store.get(id);
        assert.ok(bytes !== undefined && sha256(bytes) === id, `${id} of writer ${writer}`);
      }
    }
    const scrub = await store.scrub();
    assert.deepEqual(
      [scrub.damaged.length, scrub.recounted, scrub.badRows, scrub.adopted],
      [0, 0, 0, 0],
      'nothing to put right',
    );
    await store.gc({ graceMs: 0 });
    assert.equal((await store.stats()).blobs, 3 * count);
  },
);

storeTest('a session in one process holds what it put against a collection of another', async (folder) => {
  const store = await folder.open();
  const { id: old } = await store.put(contentOf(8, 1));
  const holder = new Child('hold', folder.path);
  const { ids } = await holder.state('ready');
  const young = (await store.put(contentOf(8, 2))).id;
  const first = await store.gc({ graceMs: 0 });
  assert.deepEqual([first.deleted, first.held], [1, ids!.length + 1], 'all that is younger than the session');
  assert.deepEqual(await store.hasMany([old, young, ...ids!]), new Set([young, ...ids!]));
  holder.go();
  await holder.state('done');
  const second = await store.gc({ graceMs: 0 });
  assert.deepEqual([second.deleted, second.held], [ids!.length + 1, 0]);
  holder.go();
  await holder.ended();
});

storeTest('a session of a process that was killed holds nothing any more', async (folder) => {
  const store = await folder.open();
  const holder = new Child('hold', folder.path);
  const { ids } = await holder.state('ready');
  assert.equal((await store.gc({ graceMs: 0 })).deleted, 0);
  holder.process.kill('SIGKILL');
  await assert.rejects(holder.ended());
  assert.equal((await store.gc({ graceMs: 0 })).deleted, ids!.length);
});

storeTest('processes that open an absent folder at once all get the same store', async (folder) => {
  const children = Array.from({ length: 4 }, () => new Child('open', folder.path));
  const reports = await Promise.all(children.map((child) => child.state('done')));
  await Promise.all(children.map((child) => child.ended()));
  const ids: BlobId[] = reports.flatMap((report) => report.ids!);
  const store = await folder.open({ mode: 'open' });
  assert.equal((await store.hasMany(ids)).size, children.length);
  assert.equal((await store.stats()).blobs, children.length);
});

storeTest(
  'a process with an idle open store ends by itself, and leaves a store that opens',
  async (folder) => {
    const child = new Child('idle', folder.path);
    await child.ended();
    const store = await folder.open({ mode: 'open' });
    assert.equal((await store.stats()).blobs, 2);
  },
);
