/** Blobs that are here already, read and sealed under the newest epoch: records into a batch, a file into a staged one. */
import { kindName } from '../catalog/blob-rows.ts';
import type { EncodedBatch, Encoder } from '../content/encoder.ts';
import type { Reader } from '../content/reader.ts';
import type { Stager } from '../content/stager.ts';
import { type StagedBlob, sliceBytes } from '../content/staging.ts';
import { StoreError } from '../errors.ts';

interface Parts {
  readonly reader: Reader;
  readonly encoder: Encoder;
  readonly stager: Stager;
}

/** Records by the numbers of their rows. One that was collected meanwhile has an error in its place. */
export function encodeAgain(
  { reader, encoder }: Parts,
  { rows, memory }: { readonly rows: readonly number[]; readonly memory: SharedArrayBuffer | undefined },
): EncodedBatch {
  encoder.begin(memory);
  const results = rows.map((n) => {
    try {
      const row = reader.rows.byNumber(n);
      if (row === undefined) throw new StoreError('not-found', 'it was collected meanwhile');
      const content = reader.readAgain(row, 0, Number.MAX_SAFE_INTEGER);
      return { ok: encoder.add(content, { kind: kindName(row.kind) }) };
    } catch (error) {
      return { error };
    }
  });
  return { results, memory: encoder.end() };
}

/** A file by the number of its row; undefined when it was collected meanwhile. */
export async function stageAgain(
  { reader, stager }: Parts,
  n: number,
  signal: AbortSignal,
): Promise<StagedBlob | undefined> {
  const row = reader.rows.byNumber(n);
  if (row === undefined) return undefined;
  const file = reader.openFile(row);
  const token = stager.begin({});
  try {
    for (let at = 0; at < file.size; at += sliceBytes) {
      signal.throwIfAborted();
      await stager.write(token, file.read(at, Math.min(file.size, at + sliceBytes)));
    }
    return await stager.finish(token);
  } catch (error) {
    stager.discard(token);
    throw error;
  } finally {
    file.close();
  }
}
