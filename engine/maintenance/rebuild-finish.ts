/** The end of a rebuild: the old catalog and damaged volumes are set aside, the new catalog takes its place. */
import { createRootLog } from '../catalog/root-log.ts';
import { fromHex } from '../codec/bytes.ts';
import { encodeLogHead } from '../codec/root-record.ts';
import type { Files } from '../host.ts';
import type { RebuildTools } from './rebuild-context.ts';
import type { Members } from './rebuild-members.ts';
import type { ReplayedLog } from './rebuild-roots.ts';

const copyBytes = 1024 * 1024;

/**
 * Each step is durable before the next. Before the old catalog goes the store is as it was; from there on until the new one is in its
 * place it says `needs-rebuild`, and a rebuild gives the same again. The log is touched last: while it is as it was, a rebuild that is
 * begun again sees its gap again.
 */
export function finishRebuild(
  { host: { files }, layout, superblock }: RebuildTools,
  { members, log }: { readonly members: Members; readonly log: ReplayedLog },
): void {
  const { quarantine, index, rebuilt, rootLog, root } = layout;
  sync(files, rebuilt);
  if (log.gap !== '' && files.facts(rootLog) !== undefined) keepCopy(files, rootLog, quarantine);
  // The database before its log: without it nobody takes the log for that of another.
  for (const end of ['', '-wal', '-shm']) setAside(files, `${index}${end}`, quarantine);
  for (const { path, folder, damage } of members.files) {
    if (damage === undefined) continue;
    const to = folder === undefined ? quarantine : files.join(path, '..', 'quarantine');
    for (const end of ['', '-journal']) setAside(files, `${path}${end}`, to);
  }
  files.rename(rebuilt, index);
  files.syncFolder(root);
  const storeId = fromHex(superblock.storeId)!;
  if (log.repair === 'new') {
    setAside(files, rootLog, quarantine);
    createRootLog(files, rootLog, storeId);
    files.syncFolder(root);
  } else if (log.repair === 'head') writeHead(files, rootLog, encodeLogHead(storeId));
}

/** Moves a file into a folder for such files on the same disk, under a name that is free. Nothing where there is none. */
function setAside(files: Files, path: string, folder: string): void {
  if (files.facts(path) === undefined) return;
  if (files.facts(folder) === undefined) files.makeFolder(folder);
  files.rename(path, freeName(files, folder, nameOf(path)));
  files.syncFolder(folder);
  files.syncFolder(files.join(path, '..'));
}

/** Copies a file into a folder for such files, durably, under a name that is free. */
export function keepCopy(files: Files, path: string, folder: string): void {
  const from = files.open(path, 'read');
  try {
    const to = files.open(freeName(files, folder, nameOf(path)), 'create');
    try {
      const buffer = new Uint8Array(copyBytes);
      for (let at = 0; ;) {
        const read = from.read(buffer, at);
        if (read === 0) break;
        to.write(buffer.subarray(0, read), at);
        at += read;
      }
      to.sync();
    } finally {
      to.close();
    }
  } finally {
    from.close();
  }
  files.syncFolder(folder);
}

/** `name`, with the first number behind it that nobody has. */
function freeName(files: Files, folder: string, name: string): string {
  for (let i = 1; ; i++) {
    const path = files.join(folder, `${name}.${i}`);
    if (files.facts(path) === undefined) return path;
  }
}

function nameOf(path: string): string {
  return path.split(/[/\\]/).at(-1)!;
}

function sync(files: Files, path: string): void {
  const file = files.open(path, 'write');
  try {
    file.sync();
  } finally {
    file.close();
  }
}

function writeHead(files: Files, path: string, head: Uint8Array): void {
  const file = files.open(path, 'write');
  try {
    file.write(head, 0);
    file.sync();
  } finally {
    file.close();
  }
}
