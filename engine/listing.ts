/** Which blobs are here, asked by id or one after another, in pages. */
import type { BlobId, BlobStat } from './api.ts';
import { checkId } from './arguments.ts';
import { StoreError } from './errors.ts';
import type { Calls } from './facets.ts';

/** Ids looked up in one question. */
const idsPerPage = 10_000;

export async function idsHere({ query }: Calls, ids: Iterable<BlobId>): Promise<ReadonlySet<BlobId>> {
  const all = [...ids].map(checkId);
  const found = new Set<BlobId>();
  for (let at = 0; at < all.length; at += idsPerPage) {
    const page = all.slice(at, at + idsPerPage);
    const here = await query<boolean[]>('hasMany', page);
    page.forEach((id, i) => here[i] === true && found.add(id));
  }
  return found;
}

export async function* listBlobs(
  { run, query }: Calls,
  options: { readonly after?: BlobId; readonly prefix?: string; readonly signal?: AbortSignal },
): AsyncIterable<BlobStat> {
  const prefix = options.prefix ?? '';
  if (!/^[0-9a-f]{0,64}$/.test(prefix))
    throw new StoreError('invalid-argument', `not the beginning of a blob id: ${prefix.slice(0, 80)}`);
  let after = options.after === undefined ? '' : checkId(options.after);
  for (;;) {
    options.signal?.throwIfAborted();
    const page = await run(() => query<BlobStat[]>('list', after, prefix));
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    after = last.id;
  }
}
