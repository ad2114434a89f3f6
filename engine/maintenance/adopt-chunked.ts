/** Takes chunked blobs back in whose row was lost: the root of a manifest says which blob it is of, and the chunks prove it. */
import {
  type BlobRow,
  isChunked,
  isPlaced,
  noVolume,
  partNameOf,
  storedForms,
} from '../catalog/blob-rows.ts';
import type { Transaction } from '../catalog/catalog.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { type ManifestNode, type ManifestRoot, decodeManifest, isManifest } from '../codec/manifest.ts';
import { decodeNode } from '../codec/node.ts';
import { Frame } from '../codec/frame.ts';
import type { Hasher, Provider } from '../codec/provider.ts';
import { type VolumeSet, locatorOf } from '../commit/volume-set.ts';
import { type Contents, copyOf } from '../content/contents.ts';
import { type BlobFile, FramedFile, Scratch, bytesFile, isFramed } from '../content/blob-file.ts';
import { randomIncarnation } from '../content/incarnation.ts';
import { recordContent } from '../content/reader.ts';
import { StoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import { fanOut } from '../volumes/directory.ts';

/** The greatest size content is cut to. Sealed and padded it takes less than twice that. */
const chunkBytesMax = 16 * 1024 * 1024;

interface AdoptChunkedContext {
  readonly volumes: VolumeSet;
  readonly provider: Provider;
  readonly contents: Contents;
  readonly host: Host;
}

/**
 * For a node that has just been taken in, or whose blob is gone. Nothing is believed: whoever may put nodes can write any id into one,
 * and a range of a blob is read without its whole being hashed. So all chunks are read and hashed. True when the blob is here now.
 * O(size of the blob), and rare: of a put that died, only one whose very last commit was cut in two comes here.
 */
export function adoptChunked(
  transaction: Transaction,
  context: AdoptChunkedContext,
  node: { readonly row: BlobRow; readonly stored: Uint8Array },
): boolean {
  const { contents } = context;
  // Without keys nobody can tell what it is a manifest of.
  if (contents.realm.state === 'locked') return false;
  const content = unlessDamaged(() => contents.content(copyOf(node.row), node.stored));
  const root = content && rootManifest(content);
  if (root === undefined) return false;
  const { catalog } = transaction;
  const whole = root.root;
  const name = contents.realm.nameOf(whole.id);
  const found = catalog.blobs.inspect(fromHex(name)!);
  // One that is here stays as it is, unless it is a chunked one of which the manifest was lost, and this is the one.
  const mayStay = found === undefined || (found.sound && lacksManifest(transaction, found.row));
  if (!mayStay || !hashesTo(whole, new Walk(transaction, context), root)) return false;
  const size = contents.sealed ? 0 : whole.size;
  let row: BlobRow;
  if (found !== undefined) {
    ({ row } = found);
    Object.assign(row, { size, suspect: 0, label: contents.labelOf(whole) });
    transaction.changed = true;
    catalog.blobs.update(row);
  } else
    row = transaction.insert({
      id: fromHex(name)!,
      kind: 0,
      codec: storedForms.chunked,
      size,
      stored: 0,
      volume: noVolume,
      extent: fanOut(name),
      start: 0,
      incarnation: randomIncarnation(context.host),
      label: contents.labelOf(whole),
    });
  // Not the row that was given: walking may have looked the same one up anew.
  const by = { kind: ownerKinds.chunked, owner: row.n } as const;
  transaction.reference(catalog.blobs.byNumber(node.row.n)!, by);
  return true;
}

/** Manifests that are held by chunked blobs which have no row. Returns how many came back. */
export function adoptLostChunked(transaction: Transaction, context: AdoptChunkedContext): number {
  const { catalog } = transaction;
  const lost = catalog.sql
    .arrays(
      'SELECT child, owner FROM refs WHERE kind = ? AND NOT EXISTS (SELECT 1 FROM blobs WHERE n = owner)',
    )
    .all(ownerKinds.chunked) as [number, number][];
  let adopted = 0;
  for (const [child, owner] of lost) {
    const row = unlessDamaged(() => catalog.blobs.byNumber(child));
    if (row === undefined) continue; // a reference that leads nowhere is a doubt of its own
    const stored = unlessDamaged(() => new Walk(transaction, context).stored(row));
    if (stored === undefined || !adoptChunked(transaction, context, { row, stored })) continue;
    transaction.unreference(catalog.blobs.byNumber(child)!, { kind: ownerKinds.chunked, owner });
    adopted++;
  }
  return adopted;
}

function lacksManifest({ catalog }: Transaction, row: BlobRow): boolean {
  if (!isChunked(row)) return false;
  return catalog.refs
    .childrenOf(row.n, ownerKinds.chunked)
    .every((n) => catalog.sql.values('SELECT 1 FROM blobs WHERE n = ?').get(n) === undefined);
}

/** Undefined for lower nodes, and for what only looks like a manifest. */
export function rootManifest(
  content: Uint8Array,
): (ManifestNode & { readonly root: ManifestRoot }) | undefined {
  const manifest = unlessDamaged(() =>
    isManifest(decodeNode(content).payload) ? decodeManifest(content) : undefined,
  );
  return manifest?.root === undefined ? undefined : { ...manifest, root: manifest.root };
}

function hashesTo(root: ManifestRoot, walk: Walk, manifest: ManifestNode): boolean {
  const id = unlessDamaged(() => {
    walk.hash(manifest);
    return toHex(walk.digest());
  });
  return id === root.id;
}

export class Walk {
  readonly #transaction: Transaction;
  readonly #context: AdoptChunkedContext;
  readonly #hasher: Hasher;

  constructor(transaction: Transaction, context: AdoptChunkedContext) {
    this.#transaction = transaction;
    this.#context = context;
    this.#hasher = context.provider.hasher();
  }

  hash(manifest: ManifestNode): void {
    for (const { id, size } of manifest.parts) {
      const row = this.#transaction.catalog.blobs.byId(fromHex(this.#context.contents.realm.nameOf(id))!);
      if (row === undefined) throw new StoreError('corrupt', `part ${id} is missing`, { id });
      const content = this.#context.contents.content(copyOf(row), this.stored(row));
      if (manifest.level === 0) {
        if (content.length !== size) throw new StoreError('corrupt', `part ${id} has another size`, { id });
        this.#hasher.update(content);
        continue;
      }
      const below = decodeManifest(content);
      const total = below.parts.reduce((sum, part) => sum + part.size, 0);
      if (below.level !== manifest.level - 1 || total !== size)
        throw new StoreError('corrupt', `part ${id} is not the one that belongs there`, { id });
      this.hash(below);
    }
  }

  digest(): Uint8Array {
    return this.#hasher.digest();
  }

  /** Stored content of a record, or of a chunk that was there as a file before. */
  stored(row: BlobRow): Uint8Array {
    const file = this.open(row);
    try {
      if (file.size > (this.#context.contents.sealed ? 2 : 1) * chunkBytesMax)
        throw new StoreError('corrupt', 'it is too large for a chunk');
      return file.read(0, file.size);
    } finally {
      file.close();
    }
  }

  /** The same, to be read by ranges. Of a bare file nothing is verified but its size. */
  open(row: BlobRow): BlobFile {
    const { volumes, provider } = this.#context;
    const missing = new StoreError('corrupt', 'its record or file is missing');
    if (!isPlaced(row)) throw missing;
    if (!volumes.isDirectory(row.volume)) {
      const bytes = volumes
        .sqlite(volumes.row(row.volume))
        .read(partNameOf(row), locatorOf(row), 0, row.stored);
      if (bytes === undefined || bytes.length < row.stored) throw missing;
      return bytesFile(recordContent(provider, row, bytes));
    }
    const file = volumes.directory(row.volume).open(partNameOf(row));
    if (file === undefined) throw missing;
    const read = new Scratch().reader(file);
    try {
      if (isFramed(row)) return new FramedFile(file, new Frame(provider, read, row.stored), read);
    } catch (error) {
      file.close();
      throw error;
    }
    return {
      size: row.size,
      read: (from, to) => read(from, to - from).slice(),
      close: () => file.close(),
    };
  }
}

/** Undefined where something is damaged, of another format, or away: then nothing is taken in, now. */
function unlessDamaged<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch (error) {
    const codes = ['corrupt', 'tampered', 'wrong-key', 'incompatible-format', 'unavailable'];
    if (StoreError.is(error) && codes.includes(error.code)) return undefined;
    throw error;
  }
}
