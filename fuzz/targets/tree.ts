/** Targets of sync/tree and src/snapshot: nodes of the Merkle map, entries of folders. */
import { type NodeContent, decodeNode, sortLinks } from '../../engine/codec/node.ts';
import { compareBytes } from '../../engine/codec/bytes.ts';
import { decodeEntry, encodeEntry } from '../../src/snapshot/entry.ts';
import { CborReader } from '../../sync/tree/cbor.ts';
import { type MapNode, decodeMapNode, encodeMapNode } from '../../sync/tree/map-node.ts';
import { type MapEntry, rulesVersion } from '../../sync/tree/rules.ts';
import { type Random, seededRandom } from '../../test/crash/random.ts';
import { type Target, checkCodec, promise, refusable, same } from '../target.ts';
import { bytesOf, idBytesOf, linkOf, listOf, textOf } from './content.ts';

const codes = ['corrupt', 'incompatible-format'] as const;

function keysOf(random: Random, countMax: number): Uint8Array[] {
  const keys = new Map(
    listOf(random, countMax, (random) => bytesOf(random, 60)).map((key) => [
      Buffer.from(key).toString('hex'),
      key,
    ]),
  );
  return [...keys.values()].sort(compareBytes);
}

function mapNodeOf(random: Random): MapNode {
  if (random.chance(0.6)) {
    const shared = linkOf(random);
    const entries = keysOf(random, 8).map((key): MapEntry => ({
      key,
      value: bytesOf(random, 80),
      links: listOf(random, 3, (random) => (random.chance(0.3) ? shared : linkOf(random))),
    }));
    return { level: 0, entries };
  }
  const children = [...keysOf(random, 8), Uint8Array.of(0xff, 0xff)].map((key) => ({
    key,
    id: Buffer.from(idBytesOf(random)).toString('hex'),
  }));
  return {
    level: 1 + random.below(15),
    children: children.filter(({ key }, i) => i === 0 || !same(key, children[i - 1]!.key)),
  };
}

/** Whole nodes, as they come out of a store. */
export const mapNode: Target = {
  name: 'map-node',
  valid: (random) => encodeMapNode(mapNodeOf(random)),
  check: (bytes) =>
    checkCodec({ codes, decode: (bytes) => decodeMapNode(decodeNode(bytes)), encode: encodeMapNode }, bytes),
};

/** Links by number, in the order a node has them. */
function linksFor(count: number): NodeContent['links'] {
  const random = seededRandom(count, 77);
  return sortLinks(Array.from({ length: count }, () => linkOf(random)));
}

/** Payloads alone, behind a byte that says how many links there are: mutations are not lost on the node around them. */
export const mapPayload: Target = {
  name: 'map-payload',
  valid: (random) => {
    const entries = keysOf(random, 10);
    const links = linksFor(entries.length);
    const made = encodeMapNode({
      level: 0,
      entries: entries.map((key, i) => ({ key, value: bytesOf(random, 40), links: [links[i]!] })),
    });
    return new Uint8Array(Buffer.concat([Uint8Array.of(entries.length), decodeNode(made).payload]));
  },
  check: (bytes) => {
    if (bytes.length === 0) return 'refused';
    const [links, payload] = [linksFor(bytes[0]!), bytes.subarray(1)];
    const read = refusable(codes, () => decodeMapNode({ links, payload }));
    if (read === undefined) return 'refused';
    const again = decodeNode(encodeMapNode(read));
    promise(same(again.payload, payload), 'accepted bytes that encoding does not give back');
    promise(again.links.length === links.length, 'accepted links that nobody uses');
    return 'accepted';
  },
};

/** One entry of a folder: key length u8 · key · how many links, and of which kind · value. */
export const entry: Target = {
  name: 'entry',
  valid: (random) => {
    const name = textOf(random, 20).replaceAll('.', 'x');
    const common = {
      name,
      mode: random.below(0o10000),
      mtimeNs: BigInt(random.below(2 ** 32)) * 1_000_000_007n - 2n ** 40n,
    };
    const id = linksFor(1)[0]!.id;
    const made = random.pick([
      { type: 'file' as const, ...common, id, size: random.below(2 ** 31) },
      { type: 'folder' as const, ...common, id },
      { type: 'link' as const, ...common, target: textOf(random, 30) },
    ]);
    const { key, value, links } = encodeEntry(made);
    const kind = links[0] === undefined ? 0 : links[0].kind === 'raw' ? 1 : 2;
    return new Uint8Array(Buffer.concat([Uint8Array.of(key.length), key, Uint8Array.of(kind), value]));
  },
  check: (bytes) => {
    const length = bytes[0] ?? 0;
    const key = bytes.subarray(1, 1 + length);
    const kind = bytes[1 + length] ?? 0;
    const { id } = linksFor(1)[0]!;
    const links = Array.from({ length: Math.min(kind, 3) === 3 ? 2 : kind === 0 ? 0 : 1 }, () => ({
      kind: kind === 1 ? ('raw' as const) : ('node' as const),
      id,
    }));
    const value = bytes.subarray(2 + length);
    const read = refusable(['corrupt'], () => decodeEntry({ key, value, links }));
    if (read === undefined) return 'refused';
    promise(
      !/[/\0]/.test(read.name) && !['', '.', '..'].includes(read.name),
      'accepted a name that leads elsewhere',
    );
    const again = encodeEntry(read);
    promise(
      same(again.key, key) && same(again.value, value),
      'accepted bytes that encoding does not give back',
    );
    return 'accepted';
  },
};

/** The CBOR reader by itself, asked for things in an order that the input chooses. */
export const cbor: Target = {
  name: 'cbor',
  valid: () => Uint8Array.of(0, rulesVersion),
  check: (bytes) => {
    const [order = 0, rest] = [bytes[0], bytes.subarray(1)];
    const reader = new CborReader(rest, 'an input');
    const done = refusable(['corrupt'], () => {
      if (order % 4 === 0)
        promise(Number.isSafeInteger(reader.integer()), 'a number that is no safe integer');
      if (order % 4 === 1) promise(reader.unsigned(1000) <= 1000, 'a number over its limit');
      if (order % 4 === 2) promise(reader.bytes(100).length <= 100, 'bytes over their limit');
      if (order % 4 === 3) promise(reader.array() <= rest.length, 'an array longer than what holds it');
      reader.end();
      return true;
    });
    return done === undefined ? 'refused' : 'accepted';
  },
};
