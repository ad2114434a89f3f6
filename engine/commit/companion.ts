/** Members within members: the folder of SQLite volumes in a directory that takes small blobs too, and the other way round. */
import type { VolumeRow } from '../catalog/group.ts';
import type { Files, Host } from '../host.ts';

/** Names that nothing else has there: a directory holds folders of two letters, a folder of volumes files that end in .db. */
const names = { directory: 'volumes', folder: 'blobs' } as const;

interface KnownVolumes {
  readonly options: { readonly host: Pick<Host, 'files'> };
  rows(): VolumeRow[];
}

/** Where the companion of a member lies, if it has one: in it, so that both are on one disk. Undefined of what has no path of its own. */
export function companionPath(
  files: Files,
  { kind, path }: Pick<VolumeRow, 'kind' | 'path'>,
): string | undefined {
  return kind === 'sqlite' || path === null ? undefined : files.join(path, names[kind]);
}

/** The member that lies within this one. */
export function companionOf(volumes: KnownVolumes, row: VolumeRow): VolumeRow | undefined {
  const path = companionPath(volumes.options.host.files, row);
  return path === undefined ? undefined : volumes.rows().find((other) => other.path === path);
}

/** The other members that share this one's cap: what lies within it, and what it lies in. */
export function sharingCap(volumes: KnownVolumes, row: VolumeRow): VolumeRow[] {
  const { files } = volumes.options.host;
  return volumes
    .rows()
    .filter(
      (other) =>
        other.path !== null &&
        (other.path === companionPath(files, row) || companionPath(files, other) === row.path),
    );
}
