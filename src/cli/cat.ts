/** `holdfast cat DIR ID|ROOT:PATH`: writes a blob or a file of a snapshot to stdout, verified before every byte. */
import { type BlobId, type Store, StoreError } from '../index.ts';
import { isId, resolveAddress } from './address.ts';
import { UsageError, exitCodes } from './exit.ts';
import { type Verb, withReadableStore } from './verb.ts';

export const cat: Verb = {
  define: (program) =>
    program
      .command('cat')
      .description('write a blob to stdout')
      .argument('<dir>', 'the store')
      .argument('<what>', 'a blob id, or ROOT:PATH of a file'),
  async run(context, [directory, what]) {
    const { output, signal } = context;
    await withReadableStore(directory!, context, async (store) => {
      const id = await findBlob(store, what!);
      const stream = await store.stream(id, { signal });
      if (stream === undefined) throw new StoreError('not-found', `there is no blob ${id}`, { id });
      let size = 0;
      let last = 0x0a;
      for await (const bytes of stream) {
        signal.throwIfAborted();
        await output.bytes(bytes);
        size += bytes.length;
        last = bytes.at(-1) ?? last;
      }
      if (output.json && last !== 0x0a) await output.bytes('\n');
      await output.result({ id, size });
    });
    return exitCodes.fine;
  },
};

async function findBlob(store: Store, what: string): Promise<BlobId> {
  if (isId(what)) return what;
  if (!what.includes(':'))
    throw new UsageError(
      `neither a blob id (64 lower-case hex digits) nor ROOT:PATH: ${JSON.stringify(what)}`,
    );
  const found = await resolveAddress(store, what);
  if (found.type !== 'file') throw new UsageError(`${JSON.stringify(what)} is no file: use ls or get`);
  return found.id;
}
