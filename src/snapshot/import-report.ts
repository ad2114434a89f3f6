/** Counts what an import does, and keeps what it had to leave out. */
import { type BlobId, type ErrorCode, StoreError } from '../../engine/index.ts';
import { sourceError } from './source-error.ts';

/** Something of the source that is not in the snapshot. */
export interface ImportFailure {
  readonly path: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Something that a snapshot does not hold, by its nature. */
export interface SkippedPath {
  readonly path: string;
  readonly reason: 'special file' | 'store';
}

export interface ImportProgress {
  readonly files: number;
  readonly folders: number;
  /** Content bytes of the files done, read or known; of large files under way what was read. */
  readonly bytes: number;
}

export interface ImportResult {
  /** The snapshot: the map from basename to what was imported. */
  readonly root: BlobId;
  readonly files: number;
  readonly folders: number;
  readonly links: number;
  readonly bytes: number;
  /** Content bytes that the store did not have. */
  readonly newBytes: number;
  /** Files whose content was read; the others were known to be unchanged. */
  readonly filesRead: number;
  readonly skipped: readonly SkippedPath[];
  /** Only with `keepGoing`: what could not be read and is not in the snapshot. */
  readonly failures: readonly ImportFailure[];
  /** All of them: the two lists above end after a thousand. */
  readonly skippedCount: number;
  readonly failureCount: number;
}

/** Longest list that is kept. */
const listMax = 1000;
const progressMs = 50;

export class ImportReport {
  files = 0;
  folders = 0;
  links = 0;
  bytes = 0;
  newBytes = 0;
  filesRead = 0;
  /** Of files being read. */
  partial = 0;
  readonly skipped: SkippedPath[] = [];
  readonly failures: ImportFailure[] = [];
  skippedCount = 0;
  failureCount = 0;
  readonly #onProgress: ((progress: ImportProgress) => void) | undefined;
  #told = performance.now();

  constructor(onProgress: ((progress: ImportProgress) => void) | undefined) {
    this.#onProgress = onProgress;
  }

  skip(path: string, reason: SkippedPath['reason']): void {
    this.skippedCount++;
    if (this.skipped.length < listMax) this.skipped.push({ path, reason });
  }

  fail(path: string, error: unknown): void {
    this.failureCount++;
    if (this.failures.length >= listMax) return;
    const { code, message } = sourceError(error, path);
    this.failures.push({ path, code, message });
  }

  tell(): void {
    const now = performance.now();
    if (this.#onProgress === undefined || now - this.#told < progressMs) return;
    this.#told = now;
    this.#onProgress({ files: this.files, folders: this.folders, bytes: this.bytes + this.partial });
  }

  result(root: BlobId): ImportResult {
    const {
      files,
      folders,
      links,
      bytes,
      newBytes,
      filesRead,
      skipped,
      failures,
      skippedCount,
      failureCount,
    } = this;
    return {
      root,
      files,
      folders,
      links,
      bytes,
      newBytes,
      filesRead,
      skipped,
      failures,
      skippedCount,
      failureCount,
    };
  }

  /** All failures as one error, with the code of the first. */
  error(name: string): StoreError {
    const { failures, failureCount } = this;
    const shown = failures.slice(0, 20).map(({ message }) => message);
    const more = failureCount > shown.length ? [`… and ${failureCount - shown.length} more`] : [];
    const what = failureCount === 1 ? '1 path' : `${failureCount} paths`;
    const text = `${what} could not be imported, so the root ${JSON.stringify(name)} was not moved: ${[...shown, ...more].join('; ')}`;
    return new StoreError(failures[0]!.code, text, {
      failures: failureCount,
      paths: failures.map(({ path }) => path),
    });
  }
}
