/** Temporary folders that are removed again whatever happens, read-only folders inside them included. */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class TemporaryFolders {
  readonly #paths: string[] = [];

  async make(purpose: string): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), `holdfast-${purpose}-`));
    this.#paths.push(path);
    return path;
  }

  async remove(): Promise<void> {
    for (const path of this.#paths.splice(0)) {
      try {
        await rm(path, { recursive: true, force: true, maxRetries: 3 });
      } catch {
        // A restored folder may forbid to remove what is in it.
        await makeWritable(path);
        await rm(path, { recursive: true, force: true, maxRetries: 3 });
      }
    }
  }
}

async function makeWritable(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await makeWritable(join(folder, entry.name));
}
