/** What a fuzz target is: valid inputs made from randomness, and a check that throws when a promise is broken. */
import { type ErrorCode, StoreError } from '../engine/errors.ts';
import type { Random } from '../test/crash/random.ts';

/** What became of an input. Both are fine; a broken promise is thrown. */
export type Outcome = 'accepted' | 'refused';

export interface Target {
  readonly name: string;
  /** An input that must be accepted. */
  readonly valid: (random: Random) => Uint8Array;
  /** An input that is to be refused, or may be: another place for mutations to begin. */
  readonly near?: (random: Random) => Uint8Array;
  /** Makes checksums hold again after a mutation, so that what lies behind them is reached. */
  readonly repair?: (bytes: Uint8Array) => Uint8Array;
  readonly check: (bytes: Uint8Array) => Outcome | Promise<Outcome>;
  /** Called once before the first check; resolves to what is to be called after the last. */
  readonly setUp?: () => Promise<() => Promise<void>>;
}

/** A broken promise. The message says which; inputs that break it in the same way give the same message. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

export function promise(holds: boolean, what: string): void {
  if (!holds) throw new Finding(what);
}

/** Runs what may refuse: undefined when it did so with one of these codes; anything else thrown is a finding. */
export function refusable<Result>(codes: readonly ErrorCode[], work: () => Result): Result | undefined {
  try {
    return work();
  } catch (error) {
    if (StoreError.is(error) && codes.includes(error.code)) return undefined;
    throw unexpected(error);
  }
}

/** The finding that something was thrown which nobody promised. */
export function unexpected(error: unknown): Finding {
  if (error instanceof Finding) return error;
  const what = StoreError.is(error)
    ? `StoreError ${error.code}`
    : error instanceof Error
      ? error.name
      : typeof error;
  return new Finding(`threw ${what}: ${error instanceof Error ? error.message : String(error)}`);
}

export interface Codec<Value> {
  readonly codes: readonly ErrorCode[];
  readonly decode: (bytes: Uint8Array) => Value;
  readonly encode: (value: Value) => Uint8Array;
}

/** The promise of most decoders: refuse with a code, or accept only what encoding gives back to the byte; leave the input alone. */
export function checkCodec<Value>({ codes, decode, encode }: Codec<Value>, bytes: Uint8Array): Outcome {
  const before = Uint8Array.from(bytes);
  const value = refusable(codes, () => decode(bytes));
  promise(same(before, bytes), 'decoding changed its input');
  if (value === undefined) return 'refused';
  let again: Uint8Array;
  try {
    again = encode(value);
  } catch (error) {
    throw new Finding(`accepted what cannot be encoded: ${unexpected(error).message}`);
  }
  promise(same(again, bytes), 'accepted bytes that encoding does not give back');
  return 'accepted';
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** Waits for what must be refused with one of these codes. */
export async function refused(work: Promise<unknown>, codes: readonly ErrorCode[]): Promise<void> {
  let result: unknown;
  try {
    result = await work;
  } catch (error) {
    if (StoreError.is(error) && codes.includes(error.code)) return;
    throw error;
  }
  throw new Finding(`should be refused with ${codes.join(' or ')}, and gave ${JSON.stringify(result)}`);
}
