/** A volume in memory: the smallest thing that keeps the contract, for tests and for reading the contract by example. */
import { StoreError } from '../errors.ts';
import type { ListedPart, Locator, Part, PartName, Volume, VolumeFacts } from '../volume.ts';

export class MemoryVolume implements Volume {
  readonly kind = 'memory';
  readonly id: string;
  readonly #parts = new Map<
    string,
    { readonly name: PartName; readonly bytes: Uint8Array; readonly extent: number }
  >();
  #extents = 0;
  #generation = 0;

  constructor(id: string) {
    this.id = id;
  }

  write(parts: readonly Part[]): Locator[] {
    for (const { name } of parts) {
      if (this.#parts.has(keyOf(name)))
        throw new StoreError('conflict', `part ${keyOf(name)} exists already`);
    }
    this.#generation++;
    return parts.map(({ name, bytes }) => {
      const extent = ++this.#extents;
      this.#parts.set(keyOf(name), { name, bytes: bytes.slice(), extent });
      return { extent, offset: 0, length: bytes.length };
    });
  }

  read(name: PartName, _locator: Locator, offset: number, length: number): Uint8Array | undefined {
    return this.#parts.get(keyOf(name))?.bytes.slice(offset, offset + length);
  }

  delete(name: PartName): boolean {
    return this.#parts.delete(keyOf(name));
  }

  *parts(fromExtent: number, toExtent: number): Iterable<ListedPart> {
    for (const { name, bytes, extent } of [...this.#parts.values()]) {
      if (extent >= fromExtent && extent <= toExtent)
        yield { name, locator: { extent, offset: 0, length: bytes.length } };
    }
  }

  facts(): VolumeFacts {
    let bytes = 0;
    for (const part of this.#parts.values()) bytes += part.bytes.length;
    return { bytes, extents: this.#extents, generation: this.#generation };
  }

  close(): void {}
}

function keyOf(name: PartName): string {
  return `${name.id}.${name.incarnation.toString(16)}`;
}
