/** The directory volume: a file per blob, blobs/ab/<id>.<incarnation> byte-identical to the content, with .f behind it a frame. */
import { isBlobId } from '../codec/bytes.ts';
import { systemCode } from '../errors.ts';
import type { Files, OpenFile } from '../host.ts';
import type { ListedPart, Locator, Part, PartName, Volume, VolumeFacts } from '../volume.ts';

/** Written once, so read-only for everyone: a player or editor given the path cannot change it by accident. */
const partMode = 0o444;

export class DirectoryVolume implements Volume {
  readonly kind = 'directory';
  readonly id: string;
  readonly #files: Files;
  /** The folder that holds the fan-out folders. */
  readonly root: string;
  readonly #temp: string;
  /** Fan-out folders whose names this instance has made durable. */
  readonly #durable = new Set<string>();

  /** `root` holds the fan-out folders; `temp` is a folder of this lease on the same file system. */
  constructor(files: Files, id: string, place: { readonly root: string; readonly temp: string }) {
    this.id = id;
    this.#files = files;
    this.root = place.root;
    this.#temp = place.temp;
  }

  write(parts: readonly Part[]): Locator[] {
    return parts.map(({ name, bytes }) => {
      const temp = this.#files.join(this.#temp, partFile(name));
      const file = this.#files.open(temp, 'create');
      try {
        file.write(bytes, 0);
        return this.publish(file, temp, name);
      } catch (error) {
        file.close();
        removeIfThere(this.#files, temp);
        throw error;
      }
    });
  }

  /**
   * Makes a written temp file a part: read-only, content durable, named, name durable — in this order, so that a crash leaves a temp
   * or a whole part. Closes the file.
   */
  publish(file: OpenFile, temp: string, name: PartName): Locator {
    file.setMode(partMode);
    file.sync();
    const { size } = file.facts();
    file.close();
    const folder = this.#folder(name);
    this.#makeDurable(folder);
    this.#files.rename(temp, this.path(name));
    this.#files.syncFolder(folder);
    return { extent: fanOut(name.id), offset: 0, length: size };
  }

  /** A fan-out folder that is there may still not be durable: whoever made it may have died, or not have got that far yet. */
  #makeDurable(folder: string): void {
    if (this.#durable.has(folder)) return;
    if (this.#files.facts(folder) === undefined) {
      try {
        this.#files.makeFolder(folder);
      } catch (error) {
        if (systemCode(error) !== 'EEXIST') throw error; // another process made it meanwhile
      }
    }
    this.#files.syncFolder(this.root);
    this.#durable.add(folder);
  }

  path(name: PartName): string {
    return this.#files.join(this.#folder(name), partFile(name));
  }

  /** Size of the part's file, or undefined when it is not there. */
  size(name: PartName): number | undefined {
    return this.#files.facts(this.path(name))?.size;
  }

  open(name: PartName): OpenFile | undefined {
    try {
      return this.#files.open(this.path(name), 'read');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  read(name: PartName, _locator: Locator, offset: number, length: number): Uint8Array | undefined {
    const file = this.open(name);
    if (file === undefined) return undefined;
    try {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, file.facts().size - offset)));
      return bytes.subarray(0, file.read(bytes, offset));
    } finally {
      file.close();
    }
  }

  delete(name: PartName): boolean {
    return removeIfThere(this.#files, this.path(name));
  }

  *parts(fromExtent: number, toExtent: number): Iterable<ListedPart> {
    for (let extent = fromExtent; extent <= Math.min(toExtent, 255); extent++) {
      const folder = this.#files.join(this.root, extent.toString(16).padStart(2, '0'));
      if (this.#files.facts(folder) === undefined) continue;
      for (const raw of this.#files.list(folder)) {
        const file = new TextDecoder().decode(raw);
        const length = this.#files.facts(this.#files.join(folder, file))?.size;
        if (length === undefined) continue; // collected meanwhile
        const name = partName(file);
        const locator = { extent, offset: 0, length };
        if (name === undefined || fanOut(name.id) !== extent)
          yield { locator, damage: `a stray file: ${file}` };
        else yield { name, kind: 'raw', locator };
      }
    }
  }

  facts(): VolumeFacts {
    let bytes = 0;
    for (const part of this.parts(0, 255)) bytes += part.locator.length;
    return { bytes, extents: 256, generation: 0 };
  }

  close(): void {}

  #folder(name: PartName): string {
    return this.#files.join(this.root, name.id.slice(0, 2));
  }
}

/** The fan-out folder of an id as a number: its first byte. */
export function fanOut(id: string): number {
  return Number.parseInt(id.slice(0, 2), 16);
}

/** Lower-case hex and a dot only, so that no file system's rules about case or names ever matter. */
export function partFile(name: PartName): string {
  return `${name.id}.${name.incarnation.toString(16)}${name.framed === true ? '.f' : ''}`;
}

function partName(file: string): PartName | undefined {
  const [id, hex, form, rest] = file.split('.');
  if (!isBlobId(id) || hex === undefined || rest !== undefined || !/^[0-9a-f]{1,13}$/.test(hex))
    return undefined;
  if (form !== undefined && form !== 'f') return undefined;
  const incarnation = Number.parseInt(hex, 16);
  return form === undefined ? { id, incarnation } : { id, incarnation, framed: true };
}

function removeIfThere(files: Files, path: string): boolean {
  try {
    files.removeFile(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw error;
  }
}
