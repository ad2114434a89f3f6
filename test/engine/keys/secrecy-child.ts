// A process that puts files that everybody knows into encrypted stores, and tells how far it is, until it is killed.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type OpenOptions, openStore } from '../../../engine/index.ts';
import { smallParameters } from '../store-folder.ts';
import { contentOf, nameOf, secret } from './known.ts';

const [path, side, options, count] = process.argv.slice(2) as [string, string, string, string];
const store = await openStore(path, {
  threads: { count: 2 },
  parameters: smallParameters,
  durability: 'relaxed',
  encryption: { secret },
  ...(JSON.parse(options) as OpenOptions),
});
let next = 0;
const lane = async (): Promise<void> => {
  while (next < Number(count)) {
    const i = next++;
    const name = nameOf(i);
    const content = contentOf(i);
    const file = join(side, name);
    if (i % 4 === 0) writeFileSync(file, content);
    const source = i % 4 === 0 ? { path: file } : i % 4 === 1 ? new Blob([content]).stream() : content;
    const { id } = await store.put(source as Uint8Array, { owner: `owner ${name}` });
    if (i % 10 === 0) await store.roots.set(`root ${name}`, id);
    if (i % 10 === 1) await store.sideTable(`table ${name}`).set([[`key ${name}`, content.subarray(0, 300)]]);
    if (i % 10 === 2) await store.release(id, `owner ${name}`);
    if (i % 50 === 49) await store.gc({ graceMs: 0 });
    process.send!(i);
  }
};
await Promise.all([lane(), lane(), lane(), lane()]);
process.send!('all');
setInterval(() => undefined, 1000);
