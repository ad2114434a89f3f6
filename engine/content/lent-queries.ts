/** Questions to the catalog about what is borrowed, damaged, or to be had elsewhere. */
import type { AlternateInfo, BlobKind, BorrowerInfo } from '../api.ts';
import { type BlobRow, isBorrowed, kindName } from '../catalog/blob-rows.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { readRegistrations } from '../catalog/registrations.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import type { Host } from '../host.ts';
import type { Reader } from './reader.ts';

/** Rows in one answer. */
const listRows = 500;

export class LentQueries {
  readonly #reader: Reader;
  readonly #host: Host;
  readonly #layout: StoreLayout;
  readonly #provider: Provider;
  readonly #tell: (row: BlobRow) => string;

  constructor(
    reader: Reader,
    parts: { readonly host: Host; readonly provider: Provider; readonly layout: StoreLayout },
    tell: (row: BlobRow) => string,
  ) {
    this.#reader = reader;
    this.#host = parts.host;
    this.#provider = parts.provider;
    this.#layout = parts.layout;
    this.#tell = tell;
  }

  /** Blobs known to be damaged or lost, some at a time: behind a number, by number. */
  suspects(after: number): {
    readonly n: number;
    readonly id: string;
    readonly kind: BlobKind;
    readonly locator: string;
  }[] {
    const rows = this.#reader.sql
      .rows('SELECT * FROM blobs WHERE suspect != 0 AND n > ? ORDER BY n LIMIT ?')
      .all(after, listRows) as BlobRow[];
    return rows.map((row) => {
      const { n, kind } = row;
      return { n, id: this.#tell(row), kind: kindName(kind), locator: toHex(row.id) };
    });
  }

  /** Borrowed blobs, likewise. */
  borrowed(after: number): { readonly n: number; readonly id: string; readonly kind: BlobKind }[] {
    const rows = this.#reader.sql
      .rows('SELECT * FROM blobs WHERE codec = 3 AND n > ? ORDER BY n LIMIT ?')
      .all(after, listRows) as BlobRow[];
    return rows.map((row) => ({ n: row.n, id: toHex(row.id), kind: kindName(row.kind) }));
  }

  /** What there is of these ids: nothing, a row that stands for bytes elsewhere or is damaged, or a blob that is here. And in alternates. */
  presence(ids: readonly string[]): { readonly here: boolean; readonly lent?: BlobKind }[] {
    const { rows, realm } = this.#reader;
    return ids.map((id) => {
      const name = fromHex(realm.nameOf(id))!;
      const row = rows.inspect(name)?.row;
      const here = row !== undefined && row.suspect === 0 && !isBorrowed(row);
      if (here) return { here };
      const [lent] = this.#reader.lent(name);
      return { here, ...(lent === undefined ? {} : { lent: kindName(lent.row.kind) }) };
    });
  }

  alternates(): AlternateInfo[] {
    return this.#reader.alternates?.list() ?? [];
  }

  borrowers(): BorrowerInfo[] {
    const found = readRegistrations(this.#host.files, this.#provider, this.#layout.borrowers);
    return found.map(({ storeId: id, path }) => ({ id, path }));
  }
}
