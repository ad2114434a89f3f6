/** `holdfast get DIR ROOT[:PATH] OUT`: restores a snapshot, a folder of it or a file. */
import { resolve } from 'node:path';
import { type RestoreProgress, restoreTree } from '../index.ts';
import { resolveAddress } from './address.ts';
import { type ToldError, exitCodes, toldError } from './exit.ts';
import type { Output } from './output.ts';
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
    let written: RestoreProgress | undefined;
    const work = withReadableStore(directory!, context, async (store) => {
      const found = await resolveAddress(store, address!);
      return await restoreTree(store, found.type === 'root' ? found.id : found, resolve(out!), {
        signal,
        onProgress: (state) => progress.update((written = state)),
      });
    }).finally(() => progress.end());
    let done: RestoreProgress;
    try {
      done = await work;
    } catch (error) {
      const told = toldError(error);
      if (written === undefined || told.code === 'internal') throw error;
      await tellPart(output, { told, written, out: out! });
      return told.exit;
    }
    const seconds = (performance.now() - began) / 1000;
    await output.line(
      `${showCount(done.files, 'file')}, ${showBytes(done.bytes)}, in ${showSeconds(seconds)} (${showRate(done.bytes, seconds)})`,
    );
    await output.result({ ...done, seconds, out });
    return exitCodes.fine;
  },
};

/** Why it ended, what it left, and how to go on. */
async function tellPart(
  output: Output,
  so: { readonly told: ToldError; readonly written: RestoreProgress; readonly out: string },
): Promise<void> {
  const { told, written, out } = so;
  const { code, message } = told;
  const what = [
    showCount(written.files, 'file'),
    showCount(written.folders, 'folder'),
    ...(written.links > 0 ? [showCount(written.links, 'link')] : []),
  ].join(', ');
  output.note(`holdfast: ${message} (${code})`);
  output.note(
    `${out} holds a part of it, ${what}; files in it are whole. Nothing is ever written over: remove it, or get to another place; ROOT:PATH gets a part`,
  );
  await output.result({ error: { code, message }, written, out });
}
