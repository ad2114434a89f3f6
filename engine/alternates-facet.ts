/** The Store's `alternates`, and what copies in all that is borrowed. */
import type {
  AlternateInfo,
  Alternates,
  BlobId,
  BlobKind,
  BorrowerInfo,
  DissociateOptions,
  DissociateResult,
  PutResult,
} from './api.ts';
import { absolutePath } from './arguments.ts';
import { type CopyInParts, alternatesOf, copyIn } from './copy-in.ts';
import { StoreError } from './errors.ts';
import type { Host } from './host.ts';

export interface AlternatesParts extends CopyInParts {
  readonly host: Host;
  readonly run: <Result>(work: () => Promise<Result>) => Promise<Result>;
  readonly writing: <Result>(work: () => Promise<Result>) => Promise<Result>;
  /** Runs work whose puts no collection touches until it has ended. */
  readonly during: <Result>(work: () => Promise<Result>) => Promise<Result>;
}

/** Other processes may go on borrowing while it is copied. */
const passesMax = 10;

export function makeAlternates({ host, crew, run, writing, query }: AlternatesParts): Alternates {
  const checked = (path: unknown): string => {
    if (typeof path === 'string' && path !== '' && !path.includes('\0')) return absolutePath(host, path);
    throw new StoreError(
      'invalid-argument',
      'the path of an alternate must be a text, not empty, without NUL',
    );
  };
  const storeId = (id: unknown): string => {
    if (typeof id === 'string' && /^[0-9a-f]{32}$/.test(id)) return id;
    throw new StoreError('invalid-argument', 'the id of a store has 32 lower-case hex digits');
  };
  return {
    add: (path, { immutable = false } = {}) =>
      run(() =>
        writing(() => crew.commit<AlternateInfo>('alternates-add', { path: checked(path), immutable })),
      ),
    list: () => run(() => query<AlternateInfo[]>('alternates')),
    remove: (path) => run(() => writing(() => crew.commit<void>('alternates-remove', checked(path)))),
    borrowers: () => run(() => query<BorrowerInfo[]>('borrowers')),
    forget: (borrower, path) =>
      run(() =>
        writing(() =>
          crew.commit<number>('borrowers-forget', {
            id: storeId(borrower),
            ...(path === undefined ? {} : { path: absolutePath(host, path) }),
          }),
        ),
      ),
  };
}

interface Borrowed {
  readonly n: number;
  readonly id: BlobId;
  readonly kind: BlobKind;
}

/** Each blob is a put of its own: whatever ends this, what was copied is here, and the next call goes on. */
export function dissociate(parts: AlternatesParts, options: DissociateOptions): Promise<DissociateResult> {
  const { crew, run, writing, during, query } = parts;
  const { signal, onProgress } = options;
  const source = alternatesOf(parts);
  const result = { blobs: 0, bytes: 0 };
  const onPut = ({ size }: PutResult): void => {
    result.blobs++;
    result.bytes += size;
    onProgress?.({ ...result });
  };
  const pass = async (): Promise<void> => {
    for (let after = 0; ;) {
      const page = await query<Borrowed[]>('borrowed', after);
      if (page.length === 0) return;
      after = page.at(-1)!.n;
      for (const { id, kind } of page) {
        const put = await copyIn(parts, source, { id, kind }, { signal, onPut });
        if (put === undefined)
          throw new StoreError('corrupt', `blob ${id} is borrowed, and no alternate has it any more`, { id });
      }
    }
  };
  return run(() =>
    writing(async () => {
      await crew.commit('alternates-lend', false);
      try {
        for (let left = passesMax; ; left--) {
          await during(pass);
          try {
            await crew.commit('alternates-end', undefined);
            return result;
          } catch (error) {
            if (!StoreError.is(error, 'conflict') || left === 1) throw error;
          }
        }
      } finally {
        await crew.commit('alternates-lend', true);
      }
    }),
  );
}
