/** Tokens that let peers in over HTTP: 256 random bits each, of which the store keeps only the sha256, with a scope and a label. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreError } from '../../engine/index.ts';
import { Records, isMissing } from './records.ts';

/** What a token allows: `read` to pull, `append` to push roots that are new there, `admin` both, and to move roots. */
export type Scope = 'read' | 'append' | 'admin';

export const scopes: readonly Scope[] = ['read', 'append', 'admin'];

export interface TokenInfo {
  /** 16 hex digits, also the beginning of the token; not secret. */
  readonly id: string;
  readonly scope: Scope;
  readonly label: string;
  readonly createdMs: number;
  /** To the minute; null when it never was. */
  readonly usedMs: number | null;
}

/** The tokens of a store. They are files of their own in its folder: no key and no catalog is needed for them. */
export interface Tokens {
  /** Makes one. The token itself is told this once and kept nowhere. */
  create(scope: Scope, label?: string): Promise<TokenInfo & { readonly token: string }>;
  list(): Promise<TokenInfo[]>;
  /** Durable when it resolves: nobody comes in by it any more. False when there is none of that id. */
  revoke(id: string): Promise<boolean>;
  /** Who presents this; undefined when no token of this store is that. Takes as long for a wrong secret as for the right one. */
  verify(token: string): Promise<TokenInfo | undefined>;
  /** Notes that it was used just now. A store that cannot be written to does not remember it. */
  touch(id: string): Promise<void>;
  /** Whether it still stands. */
  has(id: string): Promise<boolean>;
}

const shape = /^holdfast_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
const idShape = /^[0-9a-f]{16}$/;
const labelMax = 100;
const usedEveryMs = 60_000;

export function tokensOf(directory: string): Tokens {
  const records = new Records(join(directory, 'tokens'), (name) => idShape.test(name));
  const read = async (id: string): Promise<StoredToken | undefined> => {
    const record = await records.read(id);
    if (record === undefined) return undefined;
    const used = await stat(records.path(id)).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    return used === undefined ? undefined : checked(records.path(id), record, used.mtimeMs);
  };
  return {
    async create(scope, label = '') {
      if (!scopes.includes(scope))
        throw new StoreError('invalid-argument', `a scope is one of ${scopes.join(', ')}`);
      if (label.length > labelMax || /\p{Cc}/u.test(label))
        throw new StoreError('invalid-argument', `a label is at most ${labelMax} characters on one line`);
      const id = randomBytes(8).toString('hex');
      const secret = randomBytes(32);
      const createdMs = Date.now();
      await records.add(id, { version: 1, scope, label, createdMs, sha256: hashOf(secret).toString('hex') });
      // Its time of change is when it was last used: never, as long as it is that of its making.
      await utimes(records.path(id), createdMs / 1000, createdMs / 1000);
      const token = `holdfast_${id}_${secret.toString('base64url')}`;
      return { id, scope, label, createdMs, usedMs: null, token };
    },
    async list() {
      const found = await Promise.all((await records.names()).map(read));
      return found.filter((token) => token !== undefined).map(({ info }) => info);
    },
    revoke: (id) => records.remove(id),
    async verify(token) {
      const [, id, secret] = shape.exec(token) ?? [];
      if (id === undefined || secret === undefined) return undefined;
      const stored = await read(id);
      const same = timingSafeEqual(
        hashOf(Buffer.from(secret, 'base64url')),
        stored?.hash ?? Buffer.alloc(32),
      );
      return same ? stored?.info : undefined;
    },
    async touch(id) {
      try {
        const path = records.path(id);
        const now = Date.now();
        if (now - (await stat(path)).mtimeMs > usedEveryMs) await utimes(path, now / 1000, now / 1000);
        else if ((await read(id))?.info.usedMs === null) await utimes(path, now / 1000, (now + 1) / 1000);
      } catch {
        // It was revoked just now, or may not be written: it is only a time.
      }
    },
    async has(id) {
      return (await read(id)) !== undefined;
    },
  };
}

interface StoredToken {
  readonly info: TokenInfo;
  readonly hash: Buffer;
}

function checked(path: string, record: Readonly<Record<string, unknown>>, mtimeMs: number): StoredToken {
  const { version, scope, label, createdMs, sha256 } = record;
  if (version !== 1)
    throw new StoreError('incompatible-format', `${path} is of a version that is not known here`, { path });
  const isScope = (value: unknown): value is Scope => scopes.includes(value as Scope);
  if (
    !isScope(scope) ||
    typeof label !== 'string' ||
    typeof createdMs !== 'number' ||
    typeof sha256 !== 'string' ||
    !/^[0-9a-f]{64}$/.test(sha256)
  )
    throw new StoreError('corrupt', `${path} is not a token`, { path });
  const id = path.slice(-16);
  const usedMs = Math.round(mtimeMs) > createdMs ? Math.round(mtimeMs) : null;
  return { info: { id, scope, label, createdMs, usedMs }, hash: Buffer.from(sha256, 'hex') };
}

function hashOf(secret: Uint8Array): Buffer {
  return createHash('sha256').update(secret).digest();
}
