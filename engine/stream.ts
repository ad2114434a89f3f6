/** A blob as a lazy web stream: nothing is opened before the first read, and cancelling frees the handle at once. */
import type { BlobId } from './api.ts';
import { StoreError } from './errors.ts';
import type { Remote } from './rpc.ts';

/** Bytes per pull: a player's read-ahead in few messages, and no more of a cancelled stream than this. */
const pullBytes = 256 * 1024;

export interface StreamRange {
  readonly id: BlobId;
  readonly offset: number;
  readonly length: number;
  readonly signal?: AbortSignal | undefined;
  /** As it is in an alternate, whatever is here. */
  readonly lent?: true;
}

/** The handle lives on one worker from the first pull to the end, a cancel, an abort or an error. */
export function openStream(
  worker: Remote,
  range: StreamRange,
  { onError, onPull }: { readonly onError: (error: unknown) => void; readonly onPull: () => void },
): ReadableStream<Uint8Array> {
  const { id, offset, length, signal, lent } = range;
  let handle: number | undefined;
  let onAbort = (): void => {};
  const release = async (): Promise<void> => {
    signal?.removeEventListener('abort', onAbort);
    const open = handle;
    handle = undefined;
    if (open !== undefined) await worker.call('stream-cancel', open);
  };
  const next = async (): Promise<Uint8Array | undefined> => {
    onPull();
    if (handle === undefined) {
      const opened = await worker.call<{ handle: number } | undefined>('stream-open', {
        id,
        offset,
        length,
        ...(lent === undefined ? {} : { lent }),
      });
      if (opened === undefined)
        throw new StoreError('not-found', `blob ${id} was collected before it was read`, { id });
      handle = opened.handle;
    }
    return await worker.call<Uint8Array | undefined>('stream-pull', { handle, bytesMax: pullBytes });
  };
  return new ReadableStream(
    {
      type: 'bytes',
      start(controller: ReadableByteStreamController) {
        // At once: the one who holds the stream may never read it again.
        onAbort = () => {
          controller.error(signal?.reason);
          release().catch(onError);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
      },
      async pull(controller: ReadableByteStreamController) {
        try {
          signal?.throwIfAborted();
          const bytes = await next();
          if (bytes === undefined) {
            handle = undefined;
            await release();
            controller.close();
            // A reader that brought its own buffer waits for an answer even at the end.
            controller.byobRequest?.respond(0);
          } else controller.enqueue(bytes);
        } catch (error) {
          await release();
          onError(error);
          throw error;
        }
      },
      cancel: release,
    },
    { highWaterMark: 0 },
  );
}
