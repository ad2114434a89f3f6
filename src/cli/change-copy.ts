/** Changes a few files of a copy, so that there is something small to import and replicate again. */
import { type FileHandle, chmod, lstat, open, readdir, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Files that are changed, where there are as many. */
const wanted = 3;

/** Writes into one file, lengthens another, renames a third and adds one. `copy` is a folder, or one file. Resolves to what was done. */
export async function changeCopy(copy: string): Promise<string[]> {
  const [first, second, third] = await someFiles(copy);
  const done: string[] = [];
  if (first !== undefined) {
    await within(first, async (file) => {
      const { size } = await file.stat();
      await file.write('holdfast', Math.floor(size / 2));
    });
    done.push('1 written to');
  }
  if (second !== undefined) {
    await within(second, async (file) => {
      await file.write('and a little more\n', (await file.stat()).size);
    });
    done.push('1 longer');
  }
  if (third !== undefined) {
    await chmod(dirname(third), 0o700);
    await rename(third, join(dirname(third), 'renamed by holdfast'));
    done.push('1 renamed');
  }
  if ((await lstat(copy)).isDirectory()) {
    await chmod(copy, 0o700);
    await writeFile(join(copy, 'new from holdfast'), 'A new file.\n');
    done.push('1 new');
  }
  return done;
}

/** The first regular files, in the order of their names. Links are not followed. */
async function someFiles(top: string): Promise<string[]> {
  const found: string[] = [];
  const waiting = [top];
  for (let path = waiting.pop(); path !== undefined && found.length < wanted; path = waiting.pop()) {
    const facts = await lstat(path);
    if (facts.isFile()) found.push(path);
    if (!facts.isDirectory()) continue;
    await chmod(path, facts.mode | 0o700);
    const names = (await readdir(path)).sort().reverse();
    waiting.push(...names.map((name) => join(path, name)));
  }
  return found;
}

/** Works on a file that need not be writable: it is our own copy. */
async function within(path: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  await chmod(path, (await lstat(path)).mode | 0o600);
  const file = await open(path, 'r+');
  try {
    await work(file);
  } finally {
    await file.close();
  }
}
