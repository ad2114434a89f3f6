/** Who refers to blobs of which a rebuild found no copy, in the words of callers. */
import type { Transaction } from '../catalog/catalog.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { decodeNode } from '../codec/node.ts';
import { copyOf } from '../content/contents.ts';
import { StoreError } from '../errors.ts';
import type { NameKind } from '../keys/realm.ts';
import { Walk } from './adopt-chunked.ts';
import type { RebuildContext } from './rebuild-context.ts';

/** Entries of each kind. */
const listMax = 1000;

/**
 * Before lost blobs have rows. In an encrypted store the nodes that link to them are read for their ids: a name on disk does not tell
 * its id, and what has none but a root or an owner keeps that name in the report.
 */
export function tellLost(transaction: Transaction, context: RebuildContext): void {
  const { sql } = transaction.catalog;
  const { contents, report } = context;
  const links = sql
    .arrays('SELECT parent, child FROM work.links WHERE n IS NULL ORDER BY parent, child LIMIT ?')
    .all(listMax) as [number, Uint8Array][];
  const ids = new Map<string, string>();
  if (contents.sealed)
    for (const parent of new Set(links.map(([n]) => n))) noteIds(transaction, context, { parent, ids });
  const idOf = (name: Uint8Array): string => ids.get(toHex(name)) ?? toHex(name);
  for (const as of ['root', 'owner'] as const) {
    const rows = sql.arrays(
      `SELECT name, shown, id FROM work.${as}s WHERE n IS NULL ORDER BY name, id LIMIT ?`,
    );
    for (const [key, shown, id] of rows.all(listMax) as [string, string, Uint8Array][])
      report.lose({ as, name: nameOf(context, { as, key, shown, id }), id: idOf(id) });
  }
  for (const [parent, child] of links) {
    const row = transaction.catalog.blobs.byNumber(parent)!;
    const name = contents.realm.reveal(row.id, row.label)?.id ?? toHex(row.id);
    report.lose({ as: 'node', name, id: idOf(child) });
  }
}

/** A name that was not sealed here is told by its key: reading it says more. */
function nameOf(
  { contents: { realm } }: RebuildContext,
  one: { readonly as: NameKind; readonly key: string; readonly shown: string; readonly id: Uint8Array },
): string {
  const { as, key, shown, id } = one;
  try {
    return realm.tell(as, shown, as === 'root' ? toHex(id) : '');
  } catch (error) {
    if (StoreError.is(error)) return key;
    throw error;
  }
}

/** What a node links to that is not here, by names on disk. */
function noteIds(
  transaction: Transaction,
  context: RebuildContext,
  { parent, ids }: { readonly parent: number; readonly ids: Map<string, string> },
): void {
  const { contents } = context;
  const row = transaction.catalog.blobs.byNumber(parent)!;
  const content = contents.content(copyOf(row), new Walk(transaction, context).stored(row));
  for (const { id } of decodeNode(content).links) {
    const name = contents.realm.nameOf(id);
    if (transaction.catalog.blobs.numberOf(fromHex(name)!) === undefined) ids.set(name, id);
  }
}
