/** Locators: the names of blobs on disk and on the wire, which tell nothing of their ids to whoever lacks the key. */
import { fromHex, toHex, compareBytes } from './bytes.ts';
import type { Link } from '../api.ts';
import type { Provider } from './provider.ts';
import { damaged } from './seal-header.ts';

export const locatorBytes = 32;
const linkBytes = 1 + locatorBytes;
const kinds = ['raw', 'node'] as const;

/** HMAC-SHA256(idKey, id). The idKey never rotates, so a blob keeps its locator through every epoch. */
export function locatorOf(provider: Provider, idKey: Uint8Array, id: Uint8Array): Uint8Array {
  return provider.hmacSha256(idKey, id);
}

/**
 * The clear section of a sealed node: kind u8 ‖ locator for each link, in the order of these bytes (the order of the ids
 * would tell something of them), each once. So a store without keys can collect; the shape of the graph is not secret.
 */
export function encodeLinkLocators(
  provider: Provider,
  idKey: Uint8Array,
  links: readonly Link[],
): Uint8Array {
  const entries = links.map(({ kind, id }) => {
    const entry = new Uint8Array(linkBytes);
    entry[0] = kinds.indexOf(kind);
    entry.set(locatorOf(provider, idKey, fromHex(id)!), 1);
    return entry;
  });
  entries.sort(compareBytes);
  const bytes = new Uint8Array(entries.length * linkBytes);
  entries.forEach((entry, index) => bytes.set(entry, index * linkBytes));
  return bytes;
}

export interface LocatedLink {
  readonly kind: Link['kind'];
  /** Hex. */
  readonly locator: string;
}

/** Reads a clear section; without keys nothing says that it is genuine. `corrupt` when no sealer would have written it. */
export function decodeLinkLocators(clear: Uint8Array): LocatedLink[] {
  if (clear.length % linkBytes !== 0) throw damaged('has a clear section of impossible length');
  const links: LocatedLink[] = [];
  for (let at = 0; at < clear.length; at += linkBytes) {
    const kind = kinds[clear[at]!];
    if (kind === undefined) throw damaged('has a link of an unknown kind');
    const entry = clear.subarray(at, at + linkBytes);
    if (at > 0 && compareBytes(clear.subarray(at - linkBytes, at), entry) >= 0)
      throw damaged('has links out of order');
    links.push({ kind, locator: toHex(entry.subarray(1)) });
  }
  return links;
}
