// Puts files in chunks, one after the other, and tells its parent what was acknowledged, until it is killed.
import { writeFileSync } from 'node:fs';
import { openStore } from '../../engine/index.ts';
import { chunkedParameters } from './chunked-store.ts';
import { noise } from './store-folder.ts';

/** What a child tells its parent: a put has taken so much in, or was acknowledged. */
export type PutterReport = { readonly taken: number } | { readonly put: string };

/** Content number `i`: versions of one another, so that puts meet chunks of puts that died. */
export function versionOf(i: number): Uint8Array {
  const bytes = noise(9_000_000, 77);
  bytes.set(noise(5000, i), (i * 1_234_567) % 8_000_000);
  return bytes;
}

const [path, file, from] = process.argv.slice(2);
if (path !== undefined) {
  const tell = (report: PutterReport): void => void process.send!(report);
  const store = await openStore(path, { parameters: chunkedParameters, threads: { count: 2 } });
  for (let i = Number(from); ; i++) {
    writeFileSync(file!, versionOf(i));
    const onProgress = (taken: number): void => tell({ taken });
    const { id } = await store.put({ path: file! }, { onProgress, owner: 'x' });
    tell({ put: id });
  }
}
