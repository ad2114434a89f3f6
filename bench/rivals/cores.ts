/** The machine alone: files read, and bytes hashed, on as many threads as there are cores. */
import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Cores } from '../rival.ts';

/** As JavaScript, or starting the threads would be measured as well. They take pieces of 1 MiB in turn. */
const program = `
  const { closeSync, openSync, readSync } = require('node:fs');
  const { createHash } = require('node:crypto');
  const { parentPort, workerData: { files, pieces, taken, hash } } = require('node:worker_threads');
  const bytes = Buffer.alloc(1024 * 1024, 1);
  const sha256 = createHash('sha256');
  parentPort.once('message', () => {
    const opened = hash ? [] : files.map((path) => openSync(path, 'r'));
    for (;;) {
      const at = Atomics.add(taken, 0, 1);
      if (at >= pieces.length) break;
      const { file, from, length } = pieces[at];
      if (hash) sha256.update(bytes.subarray(0, length));
      else readSync(opened[file], bytes, 0, length, from);
    }
    opened.forEach((file) => closeSync(file));
    parentPort.postMessage(sha256.digest('hex'));
  });
  parentPort.postMessage('ready');
`;
const pieceBytes = 1024 * 1024;

/** Ready threads; `run` resolves with the bytes of all files when they have gone through them. */
export const startCores: Cores['startCores'] = async (files, what) => {
  const pieces = files.flatMap((path, file) => {
    const { size } = statSync(path);
    return Array.from({ length: Math.ceil(size / pieceBytes) }, (_, i) => ({
      file,
      from: i * pieceBytes,
      length: Math.min(pieceBytes, size - i * pieceBytes),
    }));
  });
  const taken = new Int32Array(new SharedArrayBuffer(4));
  const workerData = { files, pieces, taken, hash: what === 'hash' };
  const threads = Array.from(
    { length: availableParallelism() },
    () => new Worker(program, { eval: true, workerData }),
  );
  const answers = (): Promise<unknown[]> =>
    Promise.all(threads.map((thread) => new Promise((resolve) => thread.once('message', resolve))));
  await answers();
  return {
    async run() {
      const done = answers();
      for (const thread of threads) thread.postMessage('go');
      await done;
      return pieces.reduce((sum, { length }) => sum + length, 0);
    },
    async stop() {
      await Promise.all(threads.map((thread) => thread.terminate()));
    },
  };
};
