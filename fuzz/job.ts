/** What the fuzzer runs: something that can be done by seed and run number, and made smaller when it fails. */
import { type Input, inputOf } from './inputs.ts';
import { shrinkBytes, signatureOf } from './shrink.ts';
import { Finding, type Outcome, type Target, promise, unexpected } from './target.ts';

/** The smallest thing that fails in the same way. */
export interface Reproduction {
  /** For people. */
  readonly text: string;
  /** For the corpus. */
  readonly bytes: Uint8Array;
}

export interface Job {
  readonly name: string;
  /** A run that takes longer is a finding. */
  readonly slowMs: number;
  /** Memory, in MB, that runs may take beyond what the process had; inputs are a few hundred kilobytes. */
  readonly growthMaxMB: number;
  /** Runs when nobody says how many. */
  readonly runs: number;
  readonly setUp?: () => Promise<() => Promise<void>>;
  /** Throws a Finding, and nothing else. */
  readonly run: (seed: number, run: number) => Promise<Outcome>;
  /** Does again what lies in the corpus. */
  readonly replay: (bytes: Uint8Array) => Promise<Outcome>;
  readonly reduce: (seed: number, run: number, finding: Finding) => Promise<Reproduction>;
}

const shrinkTries = 600;
const slowMs = 1000;
const growthMaxMB = 256;
const hexMax = 400;

/** Runs a target on its inputs. */
export function byteJob(target: Target): Job {
  const check = async ({ bytes, valid }: Input): Promise<Outcome> => {
    // The target gets a copy: whoever changes it must not change what is reported.
    const outcome = await checkSafely(target, bytes.slice());
    promise(!valid || outcome === 'accepted', 'refused what is valid');
    return outcome;
  };
  return {
    name: target.name,
    slowMs,
    growthMaxMB,
    runs: 50_000,
    ...(target.setUp === undefined ? {} : { setUp: target.setUp }),
    run: (seed, run) => check(inputOf(target, seed, run)),
    replay: (bytes) => check({ bytes, valid: false }),
    async reduce(seed, run, finding) {
      const input = inputOf(target, seed, run);
      const wanted = signatureOf(finding.message);
      const fails = async (bytes: Uint8Array): Promise<boolean> => {
        const candidates = [bytes, ...(target.repair === undefined ? [] : [target.repair(bytes.slice())])];
        for (const candidate of candidates) {
          const failure = await failureOf(() => check({ ...input, bytes: candidate }));
          if (failure !== undefined && signatureOf(failure.message) === wanted) return true;
        }
        return false;
      };
      const bytes = await shrinkBytes(input.bytes, fails, shrinkTries);
      const best = target.repair !== undefined ? await repairedIfNeeded(target.repair, bytes, check) : bytes;
      const hex = Buffer.from(best).toString('hex');
      const text = hex.length <= 2 * hexMax ? hex : `${hex.slice(0, 2 * hexMax)}… (${best.length} bytes)`;
      return { text, bytes: best };
    },
  };
}

/** Shrinking may have left bytes that fail only once their checksums hold. */
async function repairedIfNeeded(
  repair: (bytes: Uint8Array) => Uint8Array,
  bytes: Uint8Array,
  check: (input: Input) => Promise<Outcome>,
): Promise<Uint8Array> {
  const failure = await failureOf(() => check({ bytes, valid: false }));
  return failure === undefined ? repair(bytes.slice()) : bytes;
}

async function checkSafely(target: Target, bytes: Uint8Array): Promise<Outcome> {
  try {
    return await target.check(bytes);
  } catch (error) {
    throw unexpected(error);
  }
}

export async function failureOf(work: () => Promise<unknown>): Promise<Finding | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof Finding) return error;
    throw error;
  }
}
