/** The Store's `encoded`: blobs read and put as they are stored, for copies from store to store. */
import type { BlobId, EncodedBlobs, EncodedPiece, EncodedRead, PutResult } from './api.ts';
import { checkId, checkRange } from './arguments.ts';
import { type BatchOptions, Batches, unwrap } from './batches.ts';
import type { EncodedReadOrder } from './content/encoded-reads.ts';
import type { Crew } from './crew.ts';
import type { IngestOptions } from './ingest-parts.ts';
import { Encoded } from './source.ts';

type Reads = BatchOptions<EncodedReadOrder, EncodedRead | undefined>;

export interface EncodedParts {
  readonly crew: Crew;
  /** A read whose damage is remembered and told. */
  readonly reading: <Result>(id: BlobId, work: () => Promise<Result>) => Promise<Result>;
  readonly put: (source: AsyncIterable<Uint8Array>, options: IngestOptions) => Promise<PutResult>;
  /** How short reads are gathered. */
  readonly gathering: Omit<Reads, 'send'>;
  /** Reads of so many bytes share messages. */
  readonly shortRead: number;
}

export function makeEncoded({
  crew,
  reading,
  put,
  gathering,
  shortRead,
}: EncodedParts): EncodedBlobs<PutResult> {
  const send: Reads['send'] = async (orders) => unwrap(await crew.work('encoded-reads', orders));
  const short = new Batches({ ...gathering, send });
  const long = new Batches({ ...gathering, itemsMax: 1, send });
  return {
    async read(id, { offset, length }, codecs) {
      checkRange(offset, length);
      const order = { id: checkId(id), offset, length, codecs };
      return await reading(id, () => (length <= shortRead ? short : long).add(order));
    },
    // What the worker decodes and hashes is the content; nobody above sees anything else.
    put: (pieces, options = {}) => put(parts(pieces) as AsyncIterable<Uint8Array>, options),
  };
}

async function* parts(pieces: AsyncIterable<EncodedPiece>): AsyncGenerator<Uint8Array | Encoded, void, void> {
  for await (const { bytes, codec, length } of pieces)
    yield codec === 0 ? bytes : new Encoded(bytes, codec, length);
}
