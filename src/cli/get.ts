/** `holdfast get DIR ROOT[:PATH] OUT`: restores a snapshot, a folder of it or a file. */
import { resolve } from 'node:path';
import { restoreTree } from '../index.ts';
import { resolveAddress } from './address.ts';
import { exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { showBytes, showCount, showRate, showSeconds } from './units.ts';
import { type Verb, withReadableStore } from './verb.ts';

export const get: Verb = {
  define: (program) =>
    program
      .command('get')
      .description('restore a snapshot, a folder of it, or a file')
      .argument('<dir>', 'the store')
      .argument('<address>', 'ROOT or ROOT:PATH')
      .argument('<out>', 'where to: absent, or for folders an empty folder'),
  async run(context, [directory, address, out]) {
    const { output, signal } = context;
    const began = performance.now();
    const progress = new Progress(output, 'restore');
    const done = await withReadableStore(directory!, context, async (store) => {
      const found = await resolveAddress(store, address!);
      return await restoreTree(store, found.type === 'root' ? found.id : found, resolve(out!), {
        signal,
        onProgress: (state) => progress.update(state),
      });
    }).finally(() => progress.end());
    const seconds = (performance.now() - began) / 1000;
    await output.line(
      `${showCount(done.files, 'file')}, ${showBytes(done.bytes)}, in ${showSeconds(seconds)} (${showRate(done.bytes, seconds)})`,
    );
    await output.result({ ...done, seconds, out });
    return exitCodes.fine;
  },
};
