/** What a store must hold, in the simplest form: which blobs are there, and who holds them. */
import type { Blob } from './universe.ts';

interface Standing {
  kind: 'raw' | 'node';
  readonly owners: Set<string>;
  /** Known to be damaged, and not put again since. */
  damaged: boolean;
  /** Put, or let go of, while a session was open. */
  recent: boolean;
}

export class Model {
  readonly #blobs: readonly Blob[];
  readonly #standing = new Map<number, Standing>();
  readonly roots = new Map<string, number>();
  session = false;

  constructor(blobs: readonly Blob[]) {
    this.#blobs = blobs;
  }

  has(blob: number): boolean {
    return this.#standing.has(blob);
  }

  get(blob: number): Readonly<Standing> | undefined {
    return this.#standing.get(blob);
  }

  /** Numbers of what is there. */
  all(): number[] {
    return [...this.#standing.keys()];
  }

  /** Children that are missing, so that a put of this node is refused. */
  missing(blob: number): number[] {
    return this.#childrenOf(blob).filter((child) => !this.has(child));
  }

  /** True when nothing had to be stored. */
  put(blob: number, as: 'raw' | 'node', owner: string | undefined): boolean {
    const before = this.#standing.get(blob);
    const kept = before !== undefined && !before.damaged && !(before.kind === 'raw' && as === 'node');
    const now: Standing = before ?? { kind: as, owners: new Set(), damaged: false, recent: false };
    if (as === 'node') now.kind = 'node';
    now.damaged = false;
    now.recent = this.session || now.recent;
    if (owner !== undefined) now.owners.add(owner);
    this.#standing.set(blob, now);
    return kept;
  }

  retain(blob: number, owner: string): boolean {
    const { owners } = this.#standing.get(blob)!;
    if (owners.has(owner)) return false;
    owners.add(owner);
    return true;
  }

  release(blob: number, owner: string): boolean {
    const standing = this.#standing.get(blob);
    if (standing === undefined || !standing.owners.delete(owner)) return false;
    this.#letGo(blob);
    return true;
  }

  setRoot(name: string, blob: number): void {
    const before = this.roots.get(name);
    this.roots.set(name, blob);
    if (before !== undefined && before !== blob) this.#letGo(before);
  }

  deleteRoot(name: string): boolean {
    const before = this.roots.get(name);
    if (before === undefined) return false;
    this.roots.delete(name);
    this.#letGo(before);
    return true;
  }

  damage(blob: number): void {
    this.#standing.get(blob)!.damaged = true;
  }

  damagedBlobs(): number[] {
    return this.all().filter((blob) => this.get(blob)!.damaged);
  }

  endSession(): void {
    this.session = false;
    for (const standing of this.#standing.values()) standing.recent = false;
  }

  /** References by owners, roots and nodes that are there. */
  references(blob: number): number {
    const standing = this.#standing.get(blob)!;
    const roots = [...this.roots.values()].filter((root) => root === blob).length;
    const nodes = this.all().filter(
      (node) => this.get(node)!.kind === 'node' && this.#childrenOf(node).includes(blob),
    ).length;
    return standing.owners.size + roots + nodes;
  }

  /** What collection without a grace takes, parents before children. */
  collectable(): number[] {
    const rest = new Model(this.#blobs);
    for (const [blob, standing] of this.#standing) rest.#standing.set(blob, standing);
    for (const [name, blob] of this.roots) rest.roots.set(name, blob);
    const gone: number[] = [];
    for (let more = true; more;) {
      const free = rest.all().filter((blob) => rest.references(blob) === 0 && !rest.get(blob)!.recent);
      for (const blob of free) rest.#standing.delete(blob);
      gone.push(...free);
      more = free.length > 0;
    }
    return gone;
  }

  drop(blobs: readonly number[]): void {
    for (const blob of blobs) this.#standing.delete(blob);
  }

  #childrenOf(blob: number): readonly number[] {
    const found = this.#blobs[blob]!;
    return found.kind === 'node' ? found.children : [];
  }

  /** Its grace begins anew, if that was the last reference. */
  #letGo(blob: number): void {
    const standing = this.#standing.get(blob);
    if (standing !== undefined && this.session && this.references(blob) === 0) standing.recent = true;
  }
}
