/** Sends a stream to a worker that stages it, a piece ahead of what is written. */
import type { StagedBlob } from './content/staging.ts';
import { type IngestOptions, howOf } from './ingest-parts.ts';
import type { Remote } from './rpc.ts';
import { Encoded, type Gathered, pieces } from './source.ts';

export async function stageStream(
  worker: Remote,
  source: Gathered,
  options: IngestOptions,
): Promise<StagedBlob> {
  const token = await worker.call<string>('stage-begin', howOf(options));
  try {
    let sent = 0;
    let last: Promise<Uint8Array<ArrayBuffer> | undefined> = Promise.resolve(undefined);
    const spare: Uint8Array<ArrayBuffer>[] = [];
    for await (const piece of pieces(source, spare)) {
      options.signal?.throwIfAborted();
      const back = await last; // one piece ahead, no more: memory stays bounded
      if (back !== undefined) spare.push(back);
      sent += piece.length;
      const bytes = piece instanceof Encoded ? piece.bytes : piece;
      const how = piece instanceof Encoded ? { codec: piece.codec } : {};
      last = worker.call('stage-write', { token, bytes, ...how }, { transfer: [bytes.buffer] });
      last.catch(() => undefined); // awaited on the next turn
      options.onProgress?.(sent);
    }
    await last;
    return await worker.call<StagedBlob>('stage-finish', token);
  } catch (error) {
    await worker.call('discard', token);
    throw error;
  }
}
