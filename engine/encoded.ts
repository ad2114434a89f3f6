/** Blobs as they are stored, for copying them from store to store: what is compressed is neither decompressed nor compressed again. */
/** A part of a blob. */
export interface EncodedPiece {
  /** Its content (`codec` 0), or a run of chunks (codec/chunk-run.ts) of which those that are compressed are so by `codec`. */
  readonly bytes: Uint8Array;
  /** 0 as it is, 1 deflate, 2 zstd. */
  readonly codec: number;
  /** Bytes of content that it stands for. */
  readonly length: number;
}

export interface EncodedRead extends EncodedPiece {
  /** Of the whole blob. */
  readonly size: number;
}

export interface EncodedPutOptions {
  /** Fails with `conflict`, storing nothing, unless the content has this id. Nodes put after it may link to it before it is stored. */
  readonly expectId?: string;
  /** The same, asked when all has come; undefined where any id is right. */
  readonly expected?: () => string | undefined;
}

export interface EncodedBlobs<PutResult> {
  /**
   * Up to `length` bytes of the content from `offset`, fewer than that also before its end: pieces end where chunks do. As chunks where
   * they are compressed by one of these codecs. Their checksums hold; they are not decoded. Undefined: unknown. Damaged: `corrupt`.
   */
  read(
    id: string,
    range: { readonly offset: number; readonly length: number },
    codecs: readonly number[],
  ): Promise<EncodedRead | undefined>;
  /**
   * Puts a raw blob of pieces in order. All is decoded and hashed; chunks are stored as they came where they are cut and compressed the
   * way this store would do it, and else encoded anew. `corrupt` for chunks that do not decode to what they say, `limit-exceeded` for a
   * piece of more than 1 MiB of content or 256 chunks.
   */
  put(pieces: AsyncIterable<EncodedPiece>, options?: EncodedPutOptions): Promise<PutResult>;
}
