/** Real folders seen from a worker thread: listings with facts, and steps that lay out folders and links. */
import type { FileStep, FolderListing } from '../api.ts';
import { compareBytes } from '../codec/bytes.ts';
import { ListingPacker } from '../codec/listing.ts';
import { systemCode, toStoreError } from '../errors.ts';
import type { Files } from '../host.ts';

const cannotSet: ReadonlySet<string> = new Set(['ENOSYS', 'ENOTSUP', 'EOPNOTSUPP']);

/** Lists a folder with the facts of every name. A name that vanished between listing and looking is left out. */
export function listFolder(files: Files, path: string): FolderListing {
  const badNames: string[] = [];
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  // Joined once: what a folder lists has no separators and no dots to resolve.
  const inside = files.join(path, 'x').slice(0, -1);
  // Sorted before they are looked at: what is kept of each is its record, and what was made to get it is gone at once.
  const names = files.list(path).sort(compareBytes);
  const packer = new ListingPacker(names);
  for (const name of names) {
    let full: string;
    try {
      full = inside + decoder.decode(name);
    } catch {
      badNames.push(escapeName(name));
      continue;
    }
    const facts = files.linkFacts(full);
    if (facts !== undefined) packer.add(name, facts);
  }
  return packer.finish(badNames);
}

export function runSteps(files: Files, steps: readonly FileStep[]): void {
  for (const step of steps) {
    try {
      if (step.step === 'make-folder') files.makeFolder(step.path);
      else if (step.step === 'make-link') makeLink(files, step);
      else if (step.step === 'sync-folder') files.syncFolder(step.path);
      else {
        files.setMode(step.path, step.mode);
        files.setTimes(step.path, step.mtimeNs);
      }
    } catch (error) {
      throw toStoreError(error, `${step.step} ${step.path}`, { path: step.path });
    }
  }
}

function makeLink(files: Files, { path, target, mtimeNs }: FileStep & { readonly step: 'make-link' }): void {
  files.makeLink(path, target);
  try {
    files.setTimes(path, mtimeNs);
  } catch (error) {
    // Some file systems cannot set the times of a link itself; it is as good without.
    if (!cannotSet.has(systemCode(error) ?? '')) throw error;
  }
}

/** Printable form of a name that is not UTF-8: bad bytes as \xNN. */
function escapeName(name: Uint8Array): string {
  let text = '';
  for (const byte of name)
    text +=
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  return text;
}
