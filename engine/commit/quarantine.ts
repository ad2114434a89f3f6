/** Setting damaged files aside: never overwritten, never deleted, since a person may want to look. */
import type { StoreLayout } from '../catalog/layout.ts';
import type { Files } from '../host.ts';
import type { PartName } from '../volume.ts';
import { type DirectoryVolume, partFile } from '../volumes/directory.ts';

export function setAside(
  files: Files,
  layout: StoreLayout,
  part: { readonly directory: DirectoryVolume; readonly name: PartName },
): void {
  const { directory, name } = part;
  const from = directory.path(name);
  if (files.facts(from) === undefined) return;
  // On its own disk: a rename does not reach another.
  const folder =
    directory.root === layout.blobs ? layout.quarantine : files.join(directory.root, 'quarantine');
  if (files.facts(folder) === undefined) files.makeFolder(folder);
  files.rename(from, files.join(folder, partFile(name)));
  files.syncFolder(folder);
}
