/** Damage as the command line tells it: with the paths of what needs it. */
import { type DamageFound, type LogDamage, type Store, pathOfChain } from '../index.ts';
import type { Output } from './output.ts';
import { showCount, showName } from './units.ts';

/** Damage, and where a snapshot that needs it has it. */
export interface DamageReport extends DamageFound {
  readonly paths: readonly { readonly root: string; readonly path: string }[];
}

export async function withPaths(store: Store, damaged: readonly DamageFound[]): Promise<DamageReport[]> {
  const placed: DamageReport[] = [];
  for (const found of damaged) {
    const paths: DamageReport['paths'][number][] = [];
    for (const { name: root, chain } of found.touches.roots) {
      const path = await pathOfChain(store, chain);
      if (path !== undefined) paths.push({ root, path });
    }
    placed.push({ ...found, paths });
  }
  return placed;
}

/** `what`: whether it is known to be damaged, or the disk failed to read it. */
export function tellDamage(
  output: Output,
  { id, reason, references, touches, paths }: DamageReport,
  what: 'damaged' | 'cannot be read' = 'damaged',
): void {
  output.note(`${what}: ${id}: ${reason} (${showCount(references, 'reference')})`);
  for (const { name } of touches.roots) {
    const path = paths.find(({ root }) => root === name)?.path;
    output.note(`  needed by ${showName(path === undefined ? `root ${name}` : `${name}:${path}`)}`);
  }
  for (const owner of touches.owners) output.note(`  needed by owner ${showName(owner)}`);
  if (touches.more) output.note('  and by more than is told here');
}

/** What was found of the root log, and what it means. */
export function showLog({ problem, mended }: LogDamage): string {
  return mended
    ? `${problem}: written anew from what could be read of it and from the catalog; the damaged one lies in quarantine/`
    : `damaged: ${problem}`;
}
