/** `holdfast stats DIR`: tells what is in a store and what it takes. */
import type { HeldAlone, Store } from '../index.ts';
import { exitCodes } from './exit.ts';
import { showBytes, showCount, showName } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const stats: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('stats')
      .description('what is in the store, and what it takes')
      .argument('<dir>', 'the store')
      .option('--roots', 'also what each root holds that nothing else does'),
  async run(context, [directory], options) {
    const { output } = context;
    const { found, alone, compression, chunking, layout, encryption } = await withReadableStore(
      directory!,
      context,
      async (store) => ({
        found: await store.stats(),
        alone: options['roots'] === true ? await heldByRoots(store) : undefined,
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
    for (const { name, blobs, bytes } of alone ?? [])
      await output.line(
        `root          ${showName(name)}: alone ${showCount(blobs, 'blob')}, ${showBytes(bytes)}`,
      );
    const held = alone === undefined ? {} : { heldAlone: alone };
    await output.result({ ...found, layout, compression, chunking, encryption, ...held });
    return exitCodes.fine;
  },
};

interface RootShare extends HeldAlone {
  readonly name: string;
}

/** The largest first. What two roots share is neither's alone. */
async function heldByRoots(store: Store): Promise<RootShare[]> {
  const shares: RootShare[] = [];
  for (const { name } of await store.roots.list()) shares.push({ name, ...(await store.uniqueSize(name)) });
  return shares.sort((a, b) => b.bytes - a.bytes);
}
