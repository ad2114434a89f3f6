/** What is left of a volume after its last blob: its files are removed, and nothing of anybody else's. */
import { type VolumeRow, folderPath, sqlitePath } from '../catalog/group.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import type { Statements } from '../catalog/statements.ts';
import { StoreError, systemCode } from '../errors.ts';
import type { Provider } from '../codec/provider.ts';
import type { Files } from '../host.ts';
import { readLabel, removeLabels } from '../volumes/label.ts';
import { companionPath } from './companion.ts';
import { removeFolderIfThere, removeIfThere } from './create.ts';

interface Owner {
  readonly provider: Provider;
  readonly storeId: string;
}

export function removeVolumeFiles(
  files: Files,
  sql: Statements,
  { layout, ...owner }: Owner & { readonly layout: StoreLayout },
  row: VolumeRow,
): void {
  if (row.kind === 'sqlite') {
    let path: string;
    try {
      path = sqlitePath(files, sql, layout, row);
    } catch (error) {
      if (StoreError.is(error, 'unavailable')) return; // its folder was removed with all that lay in it
      throw error;
    }
    for (const file of [path, `${path}-journal`]) removeIfThere(files, file);
    return;
  }
  const folder = folderPath(layout, row);
  if (row.path === null || files.facts(folder) === undefined) return;
  for (const fan of fanOutFolders(files, folder)) removeIfEmpty(files, fan);
  removeTemps(files, folder);
  removeIfEmpty(files, files.join(folder, 'quarantine'));
  // Made for the companion, which goes first.
  const inner = companionPath(files, row)!;
  removeUnknown(files, sql, owner, inner);
  removeIfEmpty(files, inner);
  // The label last: until then it is known for what it was.
  removeLabels({ files, folder });
}

/** What `mirror` began and did not end: a folder with our label, perhaps torn, which no row tells of, and nothing else in it. */
function removeUnknown(files: Files, sql: Statements, { provider, storeId }: Owner, folder: string): void {
  if (files.facts(folder)?.kind !== 'folder') return;
  const names = files.list(folder).map((raw) => new TextDecoder().decode(raw));
  if (!names.every((name) => name === 'tmp' || name.startsWith('label.'))) return;
  const label = readLabel({ files, provider, folder });
  const known = sql.values('SELECT 1 FROM volumes WHERE path = ? OR id = ?');
  if (known.get(folder, label?.volumeId ?? '') !== undefined) return;
  removeIfEmpty(files, files.join(folder, 'tmp'));
  if (label === undefined || label.storeId === storeId) removeLabels({ files, folder });
}

function fanOutFolders(files: Files, folder: string): string[] {
  return files.list(folder).flatMap((raw) => {
    const name = new TextDecoder().decode(raw);
    return /^[0-9a-f]{2}$/.test(name) ? [files.join(folder, name)] : [];
  });
}

function removeTemps(files: Files, folder: string): void {
  const temps = files.join(folder, 'tmp');
  if (files.facts(temps) === undefined) return;
  for (const raw of files.list(temps))
    removeFolderIfThere(files, files.join(temps, new TextDecoder().decode(raw)));
  removeIfEmpty(files, temps);
}

/** Files that are not ours, or that a scrub would have taken in, stay. */
function removeIfEmpty(files: Files, folder: string): void {
  try {
    files.removeFolder(folder);
  } catch (error) {
    const code = systemCode(error);
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT' && code !== 'EEXIST') throw error;
  }
}
