/** What falls when references go: walked down from what nothing refers to, by the catalog's counts, in slices, and without writing. */
import type { HeldAlone } from '../api.ts';
import { storedForms } from '../catalog/blob-rows.ts';
import { ownerKinds } from '../catalog/reference-rows.ts';
import type { Statements } from '../catalog/statements.ts';
import type { Clock } from '../host.ts';

/** Default time between the last loss of a reference and collection. */
export const defaultGraceMs: number = 24 * 60 * 60 * 1000;
/** Others want the thread, too. */
const sliceMs = 15;
/** Unreferenced blobs looked up in one question. */
const pageRows = 10_000;

/** Since when nothing refers to it: by the clock, and by generation. */
export interface Since {
  readonly ms: number;
  readonly generation: number;
}

export interface Fallen extends Since {
  /** That all copies take. */
  readonly bytes: number;
  /** Nothing referred to it from the beginning. */
  readonly isUnreferenced: boolean;
}

interface Row {
  readonly n: number;
  readonly kind: number;
  readonly codec: number;
  readonly stored: number;
  readonly refcount: number;
  readonly touched: number;
  readonly touched_gen: number;
}

/** Rows change between slices, so what it comes to is an estimate. Memory: what was met and is still held by something else. */
export class Fall {
  readonly #sql: Statements;
  readonly #clock: Clock;
  /** References that went, of blobs that have more. */
  readonly #losses = new Map<number, number>();
  /** Held by what the catalog does not count: it stays, and what it refers to. */
  readonly #isHeld: (n: number) => boolean;
  #sliceEnd: number;

  constructor(sql: Statements, clock: Clock, isHeld: (n: number) => boolean = () => false) {
    this.#isHeld = isHeld;
    this.#sql = sql;
    this.#clock = clock;
    this.#sliceEnd = clock.monotonic() + sliceMs;
  }

  /** All that nothing refers to, and what only that holds. */
  async unreferenced(visit: (fallen: Fallen) => void): Promise<void> {
    const page = this.#sql.arrays(
      'SELECT n, zero_since, zero_gen FROM blobs WHERE zero_since IS NOT NULL AND n > ? ORDER BY n LIMIT ?',
    );
    for (let after = 0; ;) {
      const rows = page.all(after, pageRows) as [number, number, number][];
      for (const [n, ms, generation] of rows)
        await this.#down({ n, ms, generation }, (fallen, depth) =>
          visit({ ...fallen, isUnreferenced: depth === 0 }),
        );
      if (rows.length < pageRows) return;
      after = rows.at(-1)![0];
    }
  }

  /** One reference of this blob goes. */
  async lose(n: number, since: Since, visit: (fallen: Fallen) => void): Promise<void> {
    const row = this.#row(n);
    if (row === undefined || !this.#isLast(row)) return;
    await this.#down({ n, ...since }, (fallen) => visit({ ...fallen, isUnreferenced: false }));
  }

  async #down(
    from: Since & { readonly n: number },
    visit: (fallen: Omit<Fallen, 'isUnreferenced'>, depth: number) => void,
  ): Promise<void> {
    const copies = this.#sql.values('SELECT count(*) FROM copies WHERE blob = ?');
    const children = this.#sql.values('SELECT child FROM refs WHERE kind = ? AND owner = ?');
    const stack = [{ ...from, depth: 0 }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      if (this.#clock.monotonic() > this.#sliceEnd) {
        await this.#clock.yield();
        this.#sliceEnd = this.#clock.monotonic() + sliceMs;
      }
      const { n, ms, generation, depth } = next;
      const row = this.#row(n);
      if (row === undefined || this.#isHeld(n)) continue;
      visit({ ms, generation, bytes: row.stored * (1 + (copies.get(n) as number)) }, depth);
      const kinds = [
        ...(row.kind === 1 ? [ownerKinds.node] : []),
        ...(row.codec === storedForms.chunked ? [ownerKinds.chunked] : []),
      ];
      for (const child of kinds.flatMap((kind) => children.all(kind, n) as number[])) {
        const below = this.#row(child);
        if (below === undefined || !this.#isLast(below)) continue;
        stack.push({
          n: child,
          ms: Math.max(ms, below.touched),
          generation: Math.max(generation, below.touched_gen),
          depth: depth + 1,
        });
      }
    }
  }

  #isLast({ n, refcount }: Row): boolean {
    if (refcount <= 1) return true;
    const lost = (this.#losses.get(n) ?? 0) + 1;
    if (lost < refcount) this.#losses.set(n, lost);
    else this.#losses.delete(n);
    return lost >= refcount;
  }

  #row(n: number): Row | undefined {
    return this.#sql
      .rows('SELECT n, kind, codec, stored, refcount, touched, touched_gen FROM blobs WHERE n = ?')
      .get(n) as Row | undefined;
  }
}

/** What would fall if each of these blobs lost so many references, beside what has none. */
export async function heldAlone(sql: Statements, clock: Clock, blobs: readonly number[]): Promise<HeldAlone> {
  const fall = new Fall(sql, clock);
  const sum = { blobs: 0, bytes: 0 };
  // What only garbage shares with them is theirs alone.
  await fall.unreferenced(() => undefined);
  for (const n of blobs)
    await fall.lose(n, { ms: 0, generation: 0 }, ({ bytes }) => {
      sum.blobs++;
      sum.bytes += bytes;
    });
  return sum;
}
