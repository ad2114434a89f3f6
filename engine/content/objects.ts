/** Sealed objects as they lie, by locator: told of, read, hashed. */
import type { SealedFacts, SealedRoot } from '../api.ts';
import { type BlobRow, isChunked, kindName } from '../catalog/blob-rows.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import { fromHex, toHex } from '../codec/bytes.ts';
import { type LocatedLink, decodeLinkLocators } from '../codec/locator.ts';
import type { Provider } from '../codec/provider.ts';
import { StoreError } from '../errors.ts';
import type { Host } from '../host.ts';
import type { BlobFile } from './blob-file.ts';
import { isDamage } from './damage.ts';
import { Chunks } from './chunks.ts';
import { headerOf } from './judge-object.ts';
import { rowOfRoot, storedRoots, unopenedReason } from './named-roots.ts';
import type { Reader } from './reader.ts';
import { type LogPlace, storedChanges } from './root-history.ts';

/** Bytes hashed or verified between two turns of the event loop. */
const turnBytes = 4 * 1024 * 1024;
const sliceBytes = 1024 * 1024;

/** A copy that does not open. */
export interface BadCopy {
  readonly incarnation: number;
  readonly volume: number;
}

/** What is asked about objects that are here. */
export class ObjectQueries {
  readonly #reader: Reader;
  readonly #provider: Provider;
  readonly #pause: () => Promise<void>;

  readonly #log: LogPlace;

  constructor(
    reader: Reader,
    parts: { readonly host: Host; readonly provider: Provider; readonly layout: StoreLayout },
  ) {
    this.#log = { files: parts.host.files, provider: parts.provider, path: parts.layout.rootLog };
    this.#reader = reader;
    this.#provider = parts.provider;
    this.#pause = () => parts.host.clock.yield();
  }

  objectFacts(locators: readonly string[]): (SealedFacts | undefined)[] {
    this.#checkSealed();
    return this.#reader.together(() =>
      locators.map((locator) => {
        const row = this.#row(locator);
        if (row === undefined) return undefined;
        const facts = { kind: kindName(row.kind), suspect: row.suspect !== 0 };
        if (!isChunked(row)) return { ...facts, size: row.size };
        return { ...facts, size: 0, manifest: toHex(new Chunks(this.#reader).rootOf(row).id) };
      }),
    );
  }

  readObject(locator: string, offset: number, length: number): Uint8Array | undefined {
    return this.#open(locator, (file) =>
      file.read(offset, Math.max(offset, Math.min(file.size, offset + length))),
    );
  }

  objectLinks(locator: string): LocatedLink[] | undefined {
    return this.#open(locator, (file) => decodeLinkLocators(headerOf(file).clear));
  }

  /** sha256 of the object. */
  async objectDigest(locator: string): Promise<string | undefined> {
    const row = this.#row(locator);
    if (row === undefined || isChunked(row)) return undefined;
    // One copy to its end: another may have been sealed anew meanwhile.
    const file = this.#reader.again(row, (copy) => this.#reader.openStored(copy));
    if (file === undefined) return undefined;
    try {
      const hasher = this.#provider.hasher();
      for (let at = 0; at < file.size; at += sliceBytes) {
        if (at > 0 && at % turnBytes === 0) await this.#pause();
        hasher.update(file.read(at, Math.min(file.size, at + sliceBytes)));
      }
      return toHex(hasher.digest());
    } finally {
      file.close();
    }
  }

  /**
   * The label of the blob that a manifest is of: `tampered` where it is not the one that is called so. Without keys null, whatever it is of.
   * `not-found` where it is not here.
   */
  async manifestLabel(locator: string, manifest: string): Promise<Uint8Array | null> {
    const row = this.#row(manifest);
    if (row === undefined)
      throw new StoreError('not-found', `manifest ${manifest} is not here`, { id: manifest });
    if (row.kind !== 1) throw new StoreError('corrupt', 'a manifest is a node');
    const { realm } = this.#reader;
    if (realm.state === 'locked') return null;
    const steps = new Chunks(this.#reader).prove(row, this.#provider.hasher());
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) await this.#pause();
    if (realm.nameOf(step.value.id) !== locator)
      throw new StoreError('tampered', 'a manifest is of another blob than it came for');
    return realm.label(step.value, { name: locator });
  }

  /** Its copies that do not open; without keys those whose checksums do not hold. */
  async unsoundCopies(locator: string): Promise<BadCopy[]> {
    const row = this.#row(locator);
    if (row === undefined || isChunked(row)) return [];
    const bad: BadCopy[] = [];
    for (const copy of [row, ...this.#reader.copiesOf(row)]) {
      try {
        let bytes = 0;
        for (const read of this.#reader.verifyCopy(copy))
          if ((bytes += read) >= turnBytes) {
            bytes = 0;
            await this.#pause();
          }
      } catch (error) {
        if (!isDamage(error)) throw error;
        bad.push({ incarnation: copy.incarnation, volume: copy.volume });
      }
    }
    return bad;
  }

  /** Sequences of the records of the root log that set each root to each locator. */
  objectChanges(asked: readonly Omit<SealedRoot, 'shown'>[]): number[][] {
    this.#checkSealed();
    const stored = asked.map(({ key, locator }) => ({ name: key, id: locator }));
    return storedChanges(this.#reader, this.#log, stored);
  }

  /** By key. */
  objectRoots(): SealedRoot[] {
    this.#checkSealed();
    return storedRoots(this.#reader).map((root) => {
      const { name: key, shown } = root;
      const locator = toHex(rowOfRoot(this.#reader, root).id);
      const unopened = unopenedReason(this.#reader, shown, locator);
      return { key, shown, locator, ...(unopened === undefined ? {} : { unopened }) };
    });
  }

  rootKeys(names: readonly string[]): string[] {
    this.#checkSealed();
    return names.map((name) => this.#reader.realm.find('root', name));
  }

  locators(ids: readonly string[]): string[] {
    this.#checkSealed();
    return ids.map((id) => this.#reader.realm.nameOf(id));
  }

  #row(locator: string): BlobRow | undefined {
    this.#checkSealed();
    return this.#reader.rows.byId(fromHex(locator)!);
  }

  /** Of whichever copy is good. */
  #open<Result>(locator: string, look: (file: BlobFile) => Result): Result | undefined {
    const row = this.#row(locator);
    if (row === undefined || isChunked(row)) return undefined;
    return this.#reader.again(row, (copy) => {
      const file = this.#reader.openStored(copy);
      try {
        return look(file);
      } finally {
        file.close();
      }
    });
  }

  #checkSealed(): void {
    if (!this.#reader.contents.sealed)
      throw new StoreError('invalid-argument', 'this store is not encrypted: it has no sealed objects');
  }
}
