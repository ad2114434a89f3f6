/** `holdfast stats DIR`: tells what is in a store and what it takes. */
import { exitCodes } from './exit.ts';
import { showBytes, showCount } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const stats: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('stats')
      .description('what is in the store, and what it takes')
      .argument('<dir>', 'the store'),
  async run(context, [directory]) {
    const { output } = context;
    const { found, compression, chunking, layout, encryption } = await withReadableStore(
      directory!,
      context,
      async (store) => ({
        found: await store.stats(),
        compression: store.parameters.compression,
        chunking: store.parameters.chunking,
        layout: store.parameters.layout,
        encryption: store.parameters.encryption,
      }),
      brief,
    );
    const { mode, codec, level } = compression;
    const lacking = found.missingCopies === 0 ? '' : `; ${showCount(found.missingCopies, 'blob')} with fewer`;
    const rows: readonly (readonly [string, string])[] = [
      ['store', `${found.storeId}, format ${found.format}`],
      ['blobs', `${showCount(found.blobs, 'blob')}, of them ${showCount(found.nodes, 'node')}`],
      ['content', showBytes(found.bytes)],
      ['stored', showBytes(found.storedBytes)],
      ...(found.copies === 1 ? [] : [['copies', `${found.copies} of each blob${lacking}`] as const]),
      ['layout', layout],
      ['compression', mode === 'off' ? mode : `${mode}, ${codec} level ${level}`],
      ['chunking', chunking.mode === 'off' ? 'off' : `fastcdc, ${showBytes(chunking.average)} on average`],
      [
        'encryption',
        encryption === null ? 'off' : `realm ${encryption.realm}, padding ${encryption.padding}`,
      ],
      ['unreferenced', `${showCount(found.unreferenced, 'blob')}, ${showBytes(found.unreferencedBytes)}`],
      ['suspect', showCount(found.suspect, 'blob')],
      ['roots', String(found.roots)],
      ['catalog', showBytes(found.catalogBytes)],
      ['free on disk', showBytes(found.freeBytes)],
      ...found.volumes.map(
        (volume) =>
          [
            'volume',
            `${volume.id} (${volume.kind}, ${volume.state}), ${showBytes(volume.bytes)}, ${showBytes(volume.deadBytes)} dead`,
          ] as const,
      ),
    ];
    for (const [name, value] of rows) await output.line(`${name.padEnd(13)} ${value}`);
    await output.result({ ...found, layout, compression, chunking, encryption });
    return exitCodes.fine;
  },
};
