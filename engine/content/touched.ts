/** Who needs a blob: up the references from it to roots and owners, by the catalog alone. */
import { ownerKinds, type RootRow } from '../catalog/reference-rows.ts';
import { toHex } from '../codec/bytes.ts';
import type { Touched, TouchedRoot } from '../api.ts';
import { StoreError } from '../errors.ts';
import type { Reader } from './reader.ts';

/** What a report of one blob may grow to, and what finding it may take. */
const toldMax = 16;
const visitsMax = 10_000;
const depthMax = 128;

/** Breadth first, so that the way found to each root is a shortest one. Links are hashes: there are no cycles. */
export function touchedBy(reader: Reader, n: number): Touched {
  const owners = reader.sql.arrays('SELECT kind, owner FROM refs WHERE child = ? LIMIT ?');
  const roots: TouchedRoot[] = [];
  const retainers = new Set<string>();
  /** Of each blob met, the one below it. */
  const below = new Map<number, { readonly child: number | undefined; readonly depth: number }>();
  below.set(n, { child: undefined, depth: 1 });
  let more = false;
  for (const [at, { depth }] of below) {
    for (const [kind, owner] of owners.all(at, visitsMax) as [number, string | number][]) {
      if (kind === ownerKinds.root) {
        if (roots.length >= toldMax) more = true;
        else roots.push({ name: rootName(reader, String(owner)), chain: chainFrom(reader, at, below) });
      } else if (kind === ownerKinds.application) {
        if (retainers.size >= toldMax) more = true;
        else retainers.add(String(owner));
      } else if (!below.has(Number(owner))) {
        if (depth >= depthMax || below.size >= visitsMax) more = true;
        else below.set(Number(owner), { child: at, depth: depth + 1 });
      }
    }
  }
  return { roots, owners: [...retainers], more };
}

/** What is bound to a name that was exchanged is not told by it, but by its key. */
function rootName({ sql, realm, rows }: Reader, key: string): string {
  const root = sql.rows('SELECT * FROM roots WHERE name = ?').get(key) as RootRow | undefined;
  try {
    const row = root && rows.byNumber(root.blob);
    return root === undefined || row === undefined ? key : realm.tell('root', root.shown, toHex(row.id));
  } catch (error) {
    if (StoreError.is(error)) return key;
    throw error;
  }
}

function chainFrom(
  reader: Reader,
  top: number,
  below: ReadonlyMap<number, { readonly child: number | undefined }>,
): string[] {
  const chain: string[] = [];
  for (let n: number | undefined = top; n !== undefined; n = below.get(n)?.child) {
    const id = toldId(reader, n);
    if (id !== undefined) chain.push(id);
  }
  return chain;
}

/** Its name on disk where its row or label is damaged, or keys are not here. */
function toldId(reader: Reader, n: number): string | undefined {
  const name = reader.sql.values('SELECT id FROM blobs WHERE n = ?').get(n) as Uint8Array | undefined;
  if (name === undefined) return undefined;
  try {
    const row = reader.rows.byNumber(n);
    return row === undefined ? toHex(name) : reader.tell(row);
  } catch (error) {
    if (StoreError.is(error)) return toHex(name);
    throw error;
  }
}
