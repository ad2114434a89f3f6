/** `holdfast stat DIR ID`: tells what a store knows of one blob. */
import { StoreError } from '../index.ts';
import { parseId } from './address.ts';
import { exitCodes } from './exit.ts';
import { showBytes, showTime } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const stat: Verb = {
  define: (program) =>
    program
      .command('stat')
      .description('what the store knows of a blob')
      .argument('<dir>', 'the store')
      .argument('<id>', 'the blob id'),
  async run(context, [directory, text]) {
    const { output } = context;
    const id = parseId(text!);
    const found = await withReadableStore(directory!, context, (store) => store.stat(id), brief);
    if (found === undefined) throw new StoreError('not-found', `there is no blob ${id}`, { id });
    const rows: readonly (readonly [string, string])[] = [
      ['id', found.id],
      ['kind', found.kind],
      ['size', `${showBytes(found.size)} (${found.size})`],
      ['stored size', `${showBytes(found.storedSize)} (${found.storedSize})`],
      ['references', String(found.references)],
      ['created', showTime(found.createdMs)],
      ['verified', found.verifiedMs === undefined ? 'not yet' : showTime(found.verifiedMs)],
      ['suspect', found.suspect ? 'yes: damage was seen, and no good copy has been put since' : 'no'],
      ['volume', found.volume],
      ...(found.path === undefined ? [] : [['path', found.path] as const]),
    ];
    for (const [name, value] of rows) await output.line(`${name.padEnd(12)} ${value}`);
    await output.result(found);
    return exitCodes.fine;
  },
};
