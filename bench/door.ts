/** Loads holdfast as its users do: the built package where there is one, else the sources. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type * as Holdfast from '../src/index.ts';

export type Door = typeof Holdfast;

const built = { door: new URL('../dist/src/index.js', import.meta.url), program: new URL('../dist/src/cli/main.js', import.meta.url) };
const source = { door: new URL('../src/index.ts', import.meta.url), program: './../src/cli/main.ts' };

/** Which of the two is measured. */
export type Build = 'dist' | 'source';

export function findBuild(wanted: Build | undefined): Build {
  return wanted ?? (existsSync(built.door) ? 'dist' : 'source');
}

export async function loadDoor(build: Build): Promise<Door> {
  return (await import((build === 'dist' ? built : source).door.href)) as Door;
}

/** The file that the `holdfast` command runs. */
export function programPath(build: Build): string {
  return fileURLToPath(build === 'dist' ? built.program : new URL(source.program, import.meta.url));
}
