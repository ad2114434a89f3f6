/** `holdfast init DIR`: makes a store in an absent or empty folder. */
import { readdir } from 'node:fs/promises';
import { Option } from 'commander';
import { type ChunkingMode, type CompressionMode, type Layout, openStore } from '../index.ts';
import { exitCodes } from './exit.ts';
import { type Verb, brief } from './verb.ts';

export const init: Verb = {
  define: (program) =>
    program
      .command('init')
      .description('make a store in an absent or empty folder')
      .argument('<dir>', 'the folder')
      .addOption(
        new Option('--compress <mode>', 'what the store compresses: nothing, what is worth it, everything')
          .choices(['off', 'auto', 'always'])
          .default('off'),
      )
      .addOption(
        new Option(
          '--chunking <mode>',
          'cut large blobs where their content says so, to store alike parts once',
        )
          .choices(['off', 'fastcdc'])
          .default('off'),
      )
      .addOption(
        new Option('--layout <layout>', 'large blobs as files, or all content in SQLite volumes')
          .choices(['hybrid', 'sqlite-only'])
          .default('hybrid'),
      ),
  async run({ output, signal }, [directory], options) {
    const before = await readdir(directory!).catch(() => []);
    const store = await openStore(directory!, {
      ...brief,
      mode: 'create',
      compression: options['compress'] as CompressionMode,
      chunking: options['chunking'] as ChunkingMode,
      layout: options['layout'] as Layout,
      signal,
    });
    try {
      const { storeId, format } = await store.stats();
      const created = before.length === 0;
      await output.line(
        created ? `made store ${storeId} in ${directory!}` : `${directory!} is store ${storeId} already`,
      );
      await output.result({ directory, storeId, format, created });
    } finally {
      await store.close();
    }
    return exitCodes.fine;
  },
};
