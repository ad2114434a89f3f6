/** Which stores a store has to do with, as small files: its alternates, and the stores that borrow from it. They outlive the catalog. */
import type { Provider } from '../codec/provider.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Files } from '../host.ts';
import { writeDurably } from './durable-file.ts';

/** Another store, and where it lies. */
export interface Registration {
  readonly storeId: string;
  /** The folder, absolute, links resolved. */
  readonly path: string;
  /** Of an alternate: its place in the order of search. */
  readonly order: number;
  /** Of an alternate: nobody was told to keep what is borrowed from it. */
  readonly immutable: boolean;
}

const bytesMax = 65_536;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Names of the whole files of a folder of registrations: what one says shows in its name. Empty where there is no folder. */
export function registrationNames(files: Files, folder: string): string[] {
  if (files.facts(folder) === undefined) return [];
  const names = files.list(folder).map((name) => decoder.decode(name));
  return names.filter((name) => /^[0-9a-f]{32}-[0-9a-f]{32}$/.test(name)).toSorted();
}

/** In the order of search. `corrupt` when one is not what was written: then it is not known what there is. */
export function readRegistrations(files: Files, provider: Provider, folder: string): Registration[] {
  const read = registrationNames(files, folder).map((name) => {
    const path = files.join(folder, name);
    const bytes = readWhole(files, path);
    if (nameOf(provider, name.slice(0, 32), bytes) !== name)
      throw new StoreError('corrupt', `${path} is damaged`, { path });
    return {
      storeId: name.slice(0, 32),
      ...(JSON.parse(decoder.decode(bytes)) as Omit<Registration, 'storeId'>),
    };
  });
  return read.toSorted((a, b) => a.order - b.order);
}

/** Durable when it returns. Nothing is written when it says so already. */
export function writeRegistration(
  files: Files,
  provider: Provider,
  place: { readonly folder: string; readonly parent: string },
  { storeId, path, order, immutable }: Registration,
): void {
  const { folder, parent } = place;
  const bytes = encoder.encode(JSON.stringify({ path, order, immutable }));
  const to = files.join(folder, nameOf(provider, storeId, bytes));
  if (files.facts(to) !== undefined) return;
  if (files.facts(folder) === undefined) {
    makeFolder(files, folder);
    files.syncFolder(parent);
  }
  writeDurably(files, { folder, path: to }, bytes);
}

/** Removes what is said of a store; of that one place, where a path is given. */
export function removeRegistrations(
  files: Files,
  provider: Provider,
  folder: string,
  which: { readonly storeId: string; readonly path?: string },
): number {
  let removed = 0;
  for (const name of registrationNames(files, folder)) {
    if (!name.startsWith(which.storeId)) continue;
    const at = files.join(folder, name);
    if (which.path !== undefined) {
      const bytes = readWhole(files, at);
      if (nameOf(provider, which.storeId, bytes) !== name) continue;
      if ((JSON.parse(decoder.decode(bytes)) as Registration).path !== which.path) continue;
    }
    files.removeFile(at);
    removed++;
  }
  if (removed > 0) files.syncFolder(folder);
  return removed;
}

function nameOf(provider: Provider, storeId: string, bytes: Uint8Array): string {
  return `${storeId}-${provider.sha256Hex(bytes).slice(0, 32)}`;
}

function readWhole(files: Files, path: string): Uint8Array {
  const file = files.open(path, 'read');
  try {
    const bytes = new Uint8Array(Math.min(bytesMax, file.facts().size));
    return bytes.subarray(0, file.read(bytes, 0));
  } finally {
    file.close();
  }
}

function makeFolder(files: Files, folder: string): void {
  try {
    files.makeFolder(folder);
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error; // another process made it meanwhile
  }
}
