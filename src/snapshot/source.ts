/** Reads one file or link of a source folder, so that what is kept is what was there at one moment. */
import { type PutResult, type SourceFacts, type Store, StoreError } from '../../engine/index.ts';
import type { ImportReport } from './import-report.ts';
import { targetBytesMax, utf8 } from './names.ts';

/** A file that changes while it is read is read again this often. */
const retries = 2;

interface Reading {
  readonly report: ImportReport;
  readonly signal: AbortSignal | undefined;
}

/** Puts a file whose facts were the same before and after it was read. */
export async function putFile(
  store: Store,
  path: string,
  { report, signal }: Reading,
): Promise<PutResult & { readonly source: SourceFacts }> {
  for (let attempt = 0; ; attempt++) {
    let seen = 0;
    const onProgress = (bytes: number): void => {
      report.partial += bytes - seen;
      seen = bytes;
      report.tell();
    };
    try {
      const put = await store.put({ path }, { onProgress, ...(signal === undefined ? {} : { signal }) });
      return { ...put, source: put.source! };
    } catch (error) {
      if (!StoreError.is(error, 'source-changed') || attempt === retries) throw error;
    } finally {
      report.partial -= seen;
    }
  }
}

/** The target of a link as text; `invalid-argument` for one that is not UTF-8 or longer than a path can be. */
export async function readTarget(store: Store, path: string): Promise<string> {
  const bytes = await store.files.readLink(path);
  const target = utf8(bytes);
  if (target === undefined || target === '')
    throw new StoreError('invalid-argument', `${path}: where the link points to is not UTF-8`, { path });
  if (bytes.length > targetBytesMax)
    throw new StoreError('limit-exceeded', `${path}: where the link points to has ${bytes.length} bytes`, {
      path,
    });
  return target;
}
