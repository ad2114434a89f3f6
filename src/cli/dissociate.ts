/** `holdfast dissociate DIR`: copies in everything that is borrowed, so that the store stands by itself. */
import type { DissociateResult } from '../index.ts';
import { exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { showBytes, showCount } from './units.ts';
import { type Verb, withStore } from './verb.ts';

export const dissociate: Verb = {
  define: (program) =>
    program
      .command('dissociate')
      .description('copy in everything that is borrowed from alternates, then have none')
      .argument('<dir>', 'the store'),
  async run(context, [directory]) {
    const { output, signal } = context;
    const progress = new Progress(output, 'copied', 'blob');
    const onProgress = ({ blobs, bytes }: DissociateResult): void => progress.update({ files: blobs, bytes });
    const result = await withStore(directory!, context, (store) =>
      store.dissociate({ signal, onProgress }),
    ).finally(() => progress.end());
    await output.line(
      `copied in ${showCount(result.blobs, 'blob')}, ${showBytes(result.bytes)}; no alternates any more`,
    );
    await output.result(result);
    return exitCodes.fine;
  },
};
