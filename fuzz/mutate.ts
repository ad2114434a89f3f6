/** Changes valid bytes a little: flipped bits, numbers at their limits, pieces cut out, doubled, or taken from elsewhere. */
import type { Random } from '../test/crash/random.ts';

/** Where lengths and counts change their meaning. */
const numbers = [
  0n,
  1n,
  2n,
  16n,
  23n,
  24n,
  25n,
  31n,
  32n,
  33n,
  64n,
  127n,
  128n,
  255n,
  256n,
  257n,
  4095n,
  4096n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x1_0000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1f_ffff_ffff_ffffn,
  0x20_0000_0000_0000n,
  0xffff_ffff_ffff_ffffn,
];
/** A longer input shows nothing that a shorter one does not. */
const bytesMax = 256 * 1024;

type Mutation = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const flipBit: Mutation = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  const at = random.below(bytes.length);
  bytes[at]! ^= 1 << random.below(8);
  return bytes;
};

const setByte: Mutation = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  bytes[random.below(bytes.length)] = random.chance(0.5)
    ? random.below(256)
    : random.pick([0, 0x7f, 0x80, 0xff]);
  return bytes;
};

const setNumber: Mutation = (bytes, random) => {
  const width = random.pick([1, 2, 4, 8].filter((width) => width <= bytes.length).concat(0));
  if (width === 0) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const value = BigInt.asUintN(64, random.pick(numbers) + BigInt(random.below(3) - 1));
  const little = random.chance(0.5);
  const at = random.below(bytes.length - width + 1);
  if (width === 1) view.setUint8(at, Number(value & 0xffn));
  else if (width === 2) view.setUint16(at, Number(value & 0xffffn), little);
  else if (width === 4) view.setUint32(at, Number(value & 0xffff_ffffn), little);
  else view.setBigUint64(at, value, little);
  return bytes;
};

/** Adds a little to one byte: the next kind, one more element. */
const nudge: Mutation = (bytes, random) => {
  if (bytes.length === 0) return bytes;
  bytes[random.below(bytes.length)]! += random.pick([1, -1, 2, 16]);
  return bytes;
};

const truncate: Mutation = (bytes, random) => bytes.slice(0, random.below(bytes.length + 1));

const extend: Mutation = (bytes, random) => {
  const more = Uint8Array.from({ length: 1 + random.below(40) }, () => random.below(256));
  return join(bytes, random.chance(0.5) ? more : more.fill(0));
};

const drop: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  return join(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(40)));
};

const double: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  const end = Math.min(bytes.length, at + 1 + random.below(80));
  return join(bytes.subarray(0, end), bytes.subarray(at));
};

const insert: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  const more = Uint8Array.from({ length: 1 + random.below(4) }, () => random.below(256));
  return join(bytes.subarray(0, at), more, bytes.subarray(at));
};

const splice: Mutation = (bytes, random, other) =>
  join(bytes.subarray(0, random.below(bytes.length + 1)), other.subarray(random.below(other.length + 1)));

/** Two pieces of one length change places. */
const swap: Mutation = (bytes, random) => {
  const length = 1 + random.below(40);
  if (bytes.length < 2 * length) return bytes;
  const [a, b] = [random.below(bytes.length - length), random.below(bytes.length - length)];
  const piece = bytes.slice(a, a + length);
  bytes.copyWithin(a, b, b + length);
  bytes.set(piece, b);
  return bytes;
};

const mutations: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  setNumber,
  setNumber,
  nudge,
  truncate,
  extend,
  drop,
  double,
  insert,
  splice,
  swap,
];

/** A changed copy; `other` is a second valid input. */
export function mutate(bytes: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  let changed = bytes.slice();
  const count = random.chance(0.6) ? 1 : 2 + random.below(4);
  for (let i = 0; i < count; i++) changed = random.pick(mutations)(changed, random, other).slice(0, bytesMax);
  return changed;
}

export function randomBytes(random: Random): Uint8Array {
  const length = random.chance(0.5) ? random.below(64) : random.below(2048);
  return Uint8Array.from({ length }, () => random.below(256));
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
