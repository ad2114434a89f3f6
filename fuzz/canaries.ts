/** Canaries: decoders broken on purpose. A fuzzer that does not find them finds nothing. */
import { type NodeContent, decodeNode, encodeNode } from '../engine/codec/node.ts';
import { node } from './targets/codec.ts';
import { type Target, checkCodec } from './target.ts';

function brokenNode(name: string, decode: (bytes: Uint8Array) => NodeContent): Target {
  const codes = ['corrupt', 'incompatible-format'] as const;
  return {
    name: `canary-${name}`,
    valid: node.valid,
    check: (bytes) => checkCodec({ codes, decode, encode: encodeNode }, bytes),
  };
}

/** Overlooks what comes after the end. */
const lenient = brokenNode('lenient', (bytes) => {
  for (let end = bytes.length; end > bytes.length - 8 && end > 0; end--) {
    try {
      return decodeNode(bytes.subarray(0, end));
    } catch {
      // perhaps with one byte less
    }
  }
  return decodeNode(bytes);
});

/** Believes that every number is there: a RangeError instead of a refusal. */
const careless = brokenNode('careless', (bytes) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint8(2) === 0x98) view.getUint32(3 + view.getUint8(3));
  return decodeNode(bytes);
});

/** Takes a version that it does not know for a piece of no length, and goes on behind it. */
const endless = brokenNode('endless', (bytes) => {
  for (let at = 0; bytes[1] === 0 && at < 1; at += bytes[1]);
  return decodeNode(bytes);
});

const megabyte = 1024 * 1024;

/** Makes room for a version before it looks whether it knows it. */
const greedy = brokenNode('greedy', (bytes) => {
  const version = bytes[1] ?? 0;
  if (version > 1) new Uint8Array(version * 2 * megabyte).fill(1);
  return decodeNode(bytes);
});

export const canaries: readonly Target[] = [lenient, careless, endless, greedy];
