/** What an offline stream carries, in the order of the links: all below a root, or what a base has not. */
import { StoreError } from '../engine/index.ts';
import { fromHex } from '../engine/codec/bytes.ts';
import type { BlobId, PeerRoot, Source, TreeLink } from './peer.ts';
import { difference } from './protocol/difference.ts';

/** Blobs of a difference: planned as a whole, since nobody can ask for the rest. Some 300 bytes of memory each. */
const differenceMax = 1_000_000;

/**
 * Parents before children. Nodes come once; so do raw blobs, but of the largest trees some come again, since only so many are
 * remembered. `not-found` where the base is not here as a whole, `limit-exceeded` where the difference is too large to plan.
 */
export async function* streamPlan(
  source: Source,
  root: PeerRoot,
  base: BlobId | undefined,
): AsyncGenerator<TreeLink, void, void> {
  const top: TreeLink = { kind: root.kind, id: root.id };
  if (base === undefined) {
    yield* everything(source, top);
    return;
  }
  if (base === root.id) return;
  const [known] = await source.links([base]);
  if (known === undefined)
    throw new StoreError('not-found', `the base ${base} is not here, or is no snapshot: send without it`, {
      id: base,
    });
  const items = await difference(root.id, base, (ids) => source.links(ids), differenceMax);
  if (items !== undefined) yield* items;
  else if (await isWhole(source, base))
    throw new StoreError(
      'limit-exceeded',
      `more than ${differenceMax} blobs differ from the base: send without it`,
    );
  else
    throw new StoreError('not-found', `the base ${base} is not here as a whole any more: send without it`, {
      id: base,
    });
}

async function isWhole(source: Source, base: BlobId): Promise<boolean> {
  for await (const { kind, id } of everything(source, { kind: 'node', id: base }))
    if (kind === 'node' && (await source.links([id]))[0] === undefined) return false;
  return true;
}

async function* everything(source: Source, top: TreeLink): AsyncGenerator<TreeLink, void, void> {
  const nodes = new Set<BlobId>();
  const raws = new RecentIds();
  const path: Iterator<TreeLink>[] = [[top].values()];
  for (let open = path.at(-1); open !== undefined; open = path.at(-1)) {
    const next = open.next();
    if (next.done === true) {
      path.pop();
      continue;
    }
    const { kind, id } = next.value;
    if (kind === 'raw') {
      if (!raws.add(id)) yield next.value;
      continue;
    }
    if (nodes.has(id)) continue;
    nodes.add(id);
    yield next.value;
    const [links] = await source.links([id]);
    // What is not there is told by the reading of it.
    if (links !== undefined) path.push(links.values());
  }
}

const idBytes = 32;
const slots = 2 ** 19;

/** Ids met before, in a fixed 16 MiB: each forgets the one that lay in its place. */
class RecentIds {
  readonly #ids = new Uint8Array(slots * idBytes);

  /** Whether it is remembered already. */
  add(id: BlobId): boolean {
    const bytes = fromHex(id)!;
    const at = (new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) % slots) * idBytes;
    const here = this.#ids.subarray(at, at + idBytes);
    if (bytes.every((byte, i) => byte === here[i])) return true;
    here.set(bytes);
    return false;
  }
}
