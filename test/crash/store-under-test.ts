// The part of the Store's interface that the crash tools use.
interface Piece {
  readonly bytes: Uint8Array;
  readonly codec: number;
  readonly length: number;
}

export interface StoreUnderTest {
  put(
    source: Uint8Array | { readonly path: string } | ReadableStream<Uint8Array>,
    options?: { readonly owner?: string; readonly chunking?: 'off' | 'fastcdc' },
  ): Promise<{ readonly id: string; readonly size: number }>;
  get(id: string): Promise<Uint8Array | undefined>;
  has(id: string): Promise<boolean>;
  retain(id: string, owner: string): Promise<unknown>;
  release(id: string, owner: string): Promise<boolean>;
  readonly roots: {
    set(name: string, id: string, options?: { readonly expect?: string | null }): Promise<unknown>;
    get(name: string): Promise<string | { readonly id: string } | undefined | null>;
    delete(name: string): Promise<unknown>;
  };
  gc(options: {
    readonly graceMs: number;
  }): Promise<{ readonly deleted: number; readonly freedBytes: number }>;
  scrub(): Promise<{
    readonly blobs: number;
    readonly bytes: number;
    readonly damaged: readonly unknown[];
    readonly recounted?: number;
    readonly badRows?: number;
  }>;
  list(): AsyncIterable<{ readonly id: string; readonly size: number }>;
  /** Of stores that give and take blobs as they lie. */
  readonly encoded?: {
    read(
      id: string,
      range: { readonly offset: number; readonly length: number },
      codecs: readonly number[],
    ): Promise<(Piece & { readonly size: number }) | undefined>;
    put(pieces: AsyncIterable<Piece>): Promise<{ readonly id: string; readonly size: number }>;
  };
  /** Of stores that can be encrypted. */
  readonly keys?: { rotate(): Promise<void>; reseal(): Promise<unknown> };
  /** Of stores that are groups of volumes. */
  readonly volumes?: {
    list(): Promise<
      readonly {
        readonly id: string;
        readonly kind: string;
        readonly state: string;
        readonly path: string;
      }[]
    >;
    extend(path: string, options: object): Promise<unknown>;
    reduce(volume: string): Promise<unknown>;
    move(from: string): Promise<unknown>;
    mirror(copies: number): Promise<unknown>;
    rebalance(): Promise<unknown>;
  };
  compact?(): Promise<unknown>;
  close(): Promise<void>;
}

/** A blob as it lies, piece by piece. */
export async function piecesOf(store: StoreUnderTest, id: string): Promise<Piece[] | undefined> {
  const pieces: Piece[] = [];
  for (let offset = 0; ;) {
    const piece = await store.encoded?.read(id, { offset, length: 262_144 }, [1, 2]);
    if (piece === undefined) return undefined;
    pieces.push(piece);
    offset += piece.length;
    if (offset >= piece.size) return pieces;
  }
}

/** Takes such pieces in for an owner, who comes behind; where somebody collected in between they are put as `bytes`. */
export async function putPieces(
  store: StoreUnderTest,
  pieces: readonly Piece[],
  what: { readonly bytes: Uint8Array; readonly owner: string },
): Promise<{ readonly id: string; readonly size: number }> {
  const result = await store.encoded!.put(given(pieces));
  try {
    await store.retain(result.id, what.owner);
  } catch (error) {
    if ((error as { code?: string }).code !== 'not-found') throw error;
    await store.put(what.bytes, { owner: what.owner });
  }
  return result;
}

async function* given(pieces: readonly Piece[]): AsyncGenerator<Piece, void, void> {
  await Promise.resolve();
  yield* pieces;
}
