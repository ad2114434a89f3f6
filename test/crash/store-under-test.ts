// The part of the Store's interface that the crash tools use.
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
