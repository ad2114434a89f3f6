/** Opens the catalog of a closed store as the commit thread does, for tests that write to it without the Store. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { openConnection } from '../../engine/catalog/connection.ts';
import { RootLog } from '../../engine/catalog/root-log.ts';
import { fromHex } from '../../engine/codec/bytes.ts';
import { decodeSuperblock } from '../../engine/codec/superblock.ts';
import type { DatabaseClass } from '../../engine/driver.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import { nodeProvider } from '../../engine/providers/node.ts';

const driver = createRequire(import.meta.url)('better-sqlite3') as DatabaseClass;

export function openCatalogOf(root: string): Catalog {
  const { files, clock, platform } = nodeHost({ inline: true });
  const superblock = decodeSuperblock(nodeProvider, readFileSync(join(root, 'superblock')));
  const db = openConnection(join(root, 'index.db'), { driver, durability: 'full', platform });
  const place = { path: join(root, 'roots.log'), storeId: fromHex(superblock.storeId)!, durable: true };
  return new Catalog(db, {
    provider: nodeProvider,
    log: new RootLog(files, nodeProvider, place),
    clock,
    keyOf: (shown) => shown,
    freeBytes: () => Number.POSITIVE_INFINITY,
  });
}
