/** The slices of a file that is taken in, hashed on the way: read by this thread, or by a neighbour. */
import { StoreError, systemCode } from '../errors.ts';
import type { FileFacts, ReadableFile } from '../host.ts';
import type { ContentDigest, Digester } from './digest.ts';
import type { DigestLink, DigestSizes, FarDigest } from './digest-link.ts';
import { type DigestSink, digestSink } from './digest-sink.ts';

export interface Slices {
  /** The next bytes, none at the end. They are valid until the next call. */
  next(): Promise<Uint8Array>;
  /** What came last is to be hashed: to be called once for each slice, at the best moment. */
  hash(): void;
  finish(): Promise<ContentDigest>;
  abandon(): void;
}

/** Read here, hashed in the sink. */
class SlicesHere implements Slices {
  readonly #file: ReadableFile;
  readonly #sink: DigestSink;
  #at = 0;
  #length = 0;

  constructor(file: ReadableFile, sink: DigestSink) {
    this.#file = file;
    this.#sink = sink;
  }

  async next(): Promise<Uint8Array> {
    const room = await this.#sink.room();
    this.#length = this.#file.read(room, this.#at);
    this.#at += this.#length;
    return room.subarray(0, this.#length);
  }

  hash(): void {
    this.#sink.push(this.#length);
  }

  finish(): Promise<ContentDigest> {
    return this.#sink.finish();
  }

  abandon(): void {
    this.#sink.abandon();
  }
}

/** Read and hashed by the neighbour, ahead: for whoever has more to do with each slice than to write it. */
class SlicesThere implements Slices {
  readonly #digest: FarDigest;
  /** Slots that are being filled, in the order of the file. */
  readonly #coming: { readonly slot: number; readonly length: Promise<number> }[];
  #held: number | undefined;

  private constructor(digest: FarDigest) {
    this.#digest = digest;
    this.#coming = digest.slots.map((slot) => ({ slot, length: digest.fill(slot) }));
  }

  /** `facts` are of the file as it is open here. Undefined where the path leads the neighbour to no file, or to another one, by now. */
  static async open(
    link: DigestLink,
    { path, facts }: { readonly path: string; readonly facts: FileFacts },
    sizes: DigestSizes,
  ): Promise<SlicesThere | undefined> {
    const digest = link.ask(sizes, path);
    try {
      const there = await digest.opened;
      if (there?.dev === facts.dev && there.ino === facts.ino) return new SlicesThere(digest);
    } catch (error) {
      if (!StoreError.is(error) && systemCode(error) === undefined) throw error;
    }
    digest.drop();
    return undefined;
  }

  async next(): Promise<Uint8Array> {
    if (this.#held !== undefined)
      this.#coming.push({ slot: this.#held, length: this.#digest.fill(this.#held) });
    const { slot, length } = this.#coming.shift()!;
    this.#held = slot;
    return this.#digest.memory(slot).subarray(0, await length);
  }

  /** The neighbour has done it. */
  hash(): void {}

  finish(): Promise<ContentDigest> {
    return this.#digest.finish();
  }

  abandon(): void {
    this.#digest.drop();
  }
}

/**
 * The slices of an open file. What is `framed` costs this thread more than reading and hashing it: both is a neighbour's then, who reads
 * the file by its path.
 */
export async function slicesOf(
  file: ReadableFile,
  parts: {
    readonly path: string;
    readonly facts: FileFacts;
    readonly framed: boolean;
    readonly link: DigestLink | undefined;
    readonly own: Digester;
    readonly sizes: DigestSizes;
  },
): Promise<Slices> {
  const { framed, link, own, sizes } = parts;
  const there = framed && link !== undefined ? await SlicesThere.open(link, parts, sizes) : undefined;
  if (there !== undefined) return there;
  return new SlicesHere(file, digestSink(link, own, sizes));
}
