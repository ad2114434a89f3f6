/** The Store's `keys`: changes go to the commit thread, then to the workers; sealing anew goes the way of puts. */
import type { Keys, KeysInfo, ResealResult, Secret } from './api.ts';
import { StoreError } from './errors.ts';
import type { Crew } from './crew.ts';
import type { Ingest } from './ingest.ts';
import type { Changed, Stale, StalePage } from './threads/key-work.ts';

export interface KeyParts {
  readonly crew: Crew;
  readonly ingest: Ingest;
  readonly run: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly writing: <Result>(work: () => Promise<Result>) => Promise<Result>;
}

/** Records sealed anew in one call of a worker. */
const recordsBytes = 2 * 1024 * 1024;
const recordsMax = 256;

export function makeKeys(parts: KeyParts): Keys {
  const { crew, run, writing } = parts;
  // One after the other: each change is made of the keys that the one before left.
  let last: Promise<unknown> = Promise.resolve();
  const change = (method: string, args?: unknown): Promise<Changed> =>
    run(() => {
      const next = last.then(() =>
        writing(async () => {
          const changed = await crew.commit<Changed>(method, args);
          await newKeys(crew, changed.keyring);
          return changed;
        }),
      );
      last = next.catch(() => undefined);
      return next;
    });
  return {
    list: () => run(() => crew.commit<KeysInfo>('keys-list', undefined)),
    async add(secret) {
      const { slot, recoveryKey } = await change('keys-add', checkSecret(secret));
      return { id: slot!, ...(recoveryKey === undefined ? {} : { recoveryKey }) };
    },
    remove: async (slot) => void (await change('keys-remove', slot)),
    rotate: async () => void (await change('keys-rotate')),
    async renew(secrets) {
      await change('keys-renew', secrets.map(checkSecret));
    },
    reseal: (options = {}) => run(() => writing(() => resealAll(parts, options))),
  };
}

/**
 * Keys that the commit thread has learnt. The workers learn them as well, and only then anybody seals under them: a worker that
 * is late would not open what another one has sealed.
 */
export async function newKeys(crew: Crew, keyring: Uint8Array): Promise<void> {
  await crew.everyone('keys-learn', keyring);
  keyring.fill(0);
  await crew.commit('keys-use', undefined);
  await crew.everyone('keys-use', undefined);
}

function checkSecret<Given extends Secret | 'recovery-key'>(secret: Given): Given {
  const kind: unknown = typeof secret === 'string' ? secret : (secret as Secret | undefined)?.kind;
  if (['passphrase', 'raw-key', 'key-file', 'recovery-key'].includes(kind as string)) return secret;
  throw new StoreError(
    'invalid-argument',
    'a secret is a passphrase, a raw-key, a key-file or a recovery-key',
  );
}

async function resealAll(
  { crew, ingest }: KeyParts,
  { signal, onProgress }: NonNullable<Parameters<Keys['reseal']>[0]>,
): Promise<ResealResult> {
  let result: ResealResult = { blobs: 0, bytes: 0 };
  const done = (blobs: number, bytes: number): void => {
    result = { blobs: result.blobs + blobs, bytes: result.bytes + bytes };
    onProgress?.(result);
  };
  for (let after: number | undefined = 0; after !== undefined;) {
    signal?.throwIfAborted();
    const page: StalePage = await crew.commit<StalePage>('keys-stale', after);
    if (page.relabelled > 0) done(page.relabelled, 0);
    for (const records of batchesOf(page.stale.filter(({ large }) => !large))) {
      signal?.throwIfAborted();
      const sealed = await ingest.resealRecords(records);
      done(sealed.length, bytesOf(sealed));
    }
    for (const file of page.stale.filter(({ large }) => large)) {
      if (await ingest.resealFile(file, signal)) done(1, file.stored);
    }
    after = page.next;
  }
  return result;
}

function bytesOf(stale: readonly Stale[]): number {
  return stale.reduce((sum, { stored }) => sum + stored, 0);
}

function batchesOf(stale: readonly Stale[]): Stale[][] {
  const batches: Stale[][] = [];
  for (const one of stale) {
    const last = batches.at(-1);
    if (last === undefined || last.length === recordsMax || bytesOf(last) + one.stored > recordsBytes)
      batches.push([one]);
    else last.push(one);
  }
  return batches;
}
