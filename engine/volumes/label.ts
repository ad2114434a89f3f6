/** The label of a directory or a folder of volumes: a small file in it that says whose it is, which one, how old, and how the group looks. */
import type { Provider } from '../codec/provider.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Files } from '../host.ts';

export interface Label {
  readonly format: number;
  readonly storeId: string;
  readonly volumeId: string;
  /** Rises with every writing of the label; one that is smaller than the catalog knows is of a copy that was restored. */
  readonly generation: number;
  /** See docs/format.md. Opaque here. */
  readonly layout: unknown;
}

const title = 'holdfast volume';
const bytesMax = 4 * 1024 * 1024;

export interface LabelPlace {
  readonly files: Files;
  readonly provider: Provider;
  readonly folder: string;
}

/**
 * Each generation is a file of its own, `label.<generation>`: written and synced before the older ones go, so that a crash leaves one
 * that is whole. A torn one is passed over. Undefined when there is none; an error when that cannot be told.
 */
export function readLabel(place: LabelPlace): Label | undefined {
  for (let tries = 0; ; tries++) {
    const found = generations(place.files, place.folder).toSorted((a, b) => b - a);
    for (const generation of found) {
      const label = readOne(place, generation);
      if (label?.generation === generation) return label;
    }
    // Another process may have written a newer one and removed those listed.
    if (found.length === 0 || tries === 3) return undefined;
  }
}

/** Durable when it returns. Under the catalog's write lock: two writers would take the same generation. */
export function writeLabel(place: LabelPlace, label: Omit<Label, 'format'>): void {
  const { files, folder } = place;
  const path = labelPath(files, folder, label.generation);
  removeIfThere(files, path); // torn by a crash, or of a transaction that was rolled back
  const file = files.open(path, 'create');
  try {
    file.write(encodeLabel(place.provider, { format: 0, ...label }), 0);
    file.sync();
  } finally {
    file.close();
  }
  files.syncFolder(folder);
  for (const older of generations(files, folder))
    if (older < label.generation) removeIfThere(files, labelPath(files, folder, older));
}

export function removeLabels({ files, folder }: Pick<LabelPlace, 'files' | 'folder'>): void {
  for (const generation of generations(files, folder))
    removeIfThere(files, labelPath(files, folder, generation));
}

/** A folder without its label, with that of another, or with an older one is `unavailable`, named by the volume it should be. */
export function checkLabel(
  place: LabelPlace,
  wanted: { readonly storeId: string; readonly volumeId: string; readonly generation: number },
): Label | undefined {
  const { storeId, volumeId, generation } = wanted;
  const wrong = (why: string): StoreError =>
    new StoreError('unavailable', `volume ${volumeId} ${why}`, { volume: volumeId, path: place.folder });
  if (place.files.facts(place.folder) === undefined) throw wrong(`is not there: ${place.folder} is missing`);
  const label = readLabel(place);
  if (label === undefined) {
    if (generation === 0) return undefined; // nothing was ever written there
    throw wrong(`is not there: ${place.folder} has no label`);
  }
  if (label.storeId !== storeId) throw wrong(`is not there: ${place.folder} is of store ${label.storeId}`);
  if (label.volumeId !== volumeId) throw wrong(`is not there: ${place.folder} is volume ${label.volumeId}`);
  if (label.generation < generation)
    throw wrong(`is older (generation ${label.generation}) than the catalog knows (${generation})`);
  return label;
}

/** Like the superblock: a title, JSON, and the sha256 of the JSON. */
function encodeLabel(provider: Provider, label: Label): Uint8Array {
  const json = JSON.stringify(label);
  const sum = provider.sha256Hex(new TextEncoder().encode(json));
  return new TextEncoder().encode(`${title}\n${json}\n${sum}\n`);
}

function decodeLabel(provider: Provider, bytes: Uint8Array): Label | undefined {
  const [head, json, sum] = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes).split('\n');
  if (head !== title || json === undefined) return undefined;
  if (provider.sha256Hex(new TextEncoder().encode(json)) !== sum) return undefined;
  const label = JSON.parse(json) as Label;
  if (label.format > 0)
    throw new StoreError('incompatible-format', `volume ${label.volumeId} has format ${label.format}`, {
      volume: label.volumeId,
    });
  return label;
}

function readOne({ files, folder, provider }: LabelPlace, generation: number): Label | undefined {
  let file;
  try {
    file = files.open(labelPath(files, folder, generation), 'read');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined; // a newer one took its place meanwhile
    throw error;
  }
  try {
    const { size } = file.facts();
    if (size > bytesMax) return undefined;
    const bytes = new Uint8Array(size);
    return decodeLabel(provider, bytes.subarray(0, file.read(bytes, 0)));
  } finally {
    file.close();
  }
}

function generations(files: Files, folder: string): number[] {
  return files.list(folder).flatMap((raw) => {
    const found = /^label\.(\d{1,15})$/.exec(new TextDecoder().decode(raw));
    return found === null ? [] : [Number(found[1])];
  });
}

function labelPath(files: Files, folder: string, generation: number): string {
  return files.join(folder, `label.${generation}`);
}

function removeIfThere(files: Files, path: string): void {
  try {
    files.removeFile(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}
