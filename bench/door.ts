/** Finds holdfast as its users have it: the built package where there is one, else the sources. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type * as Holdfast from '../src/index.ts';

export type Door = typeof Holdfast;

/** What is measured; all of it can be written as JSON. */
export interface Build {
  readonly name: 'dist' | 'source';
  /** URL of the module that applications import. */
  readonly door: string;
  /** The file that the `holdfast` command runs. */
  readonly program: string;
}

export function findBuild(wanted: Build['name'] | undefined): Build {
  const dist = new URL('../dist/src/index.js', import.meta.url);
  const name = wanted ?? (existsSync(dist) ? 'dist' : 'source');
  const source = new URL('../src/index.ts', import.meta.url);
  const program = name === 'dist' ? 'cli/main.js' : 'cli/main.ts';
  const door = name === 'dist' ? dist : source;
  return { name, door: door.href, program: fileURLToPath(new URL(program, door)) };
}

export async function loadDoor({ door }: Build): Promise<Door> {
  return (await import(door)) as Door;
}
