/** What several transfers read of one store at a time: a piece that another one reads, or has just read, is not read again. */
import type { Ending, Piece, Source } from '../peer.ts';

/** Pieces kept for those who come after: what the fastest may be ahead of another before the store is read again. */
const keptBytesMax: number = 32 * 1024 * 1024;
/** What one takes beside its bytes, measured: of small ones, and of what is not there, it is all. */
const keptOverhead = 640;

interface Kept {
  readonly piece: Promise<Piece | undefined>;
  bytes: number;
  /** How many others there are who may want it. */
  left: number;
}

export class SharedReads {
  readonly #max: number;
  /** In the order in which they were read. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;
  #takers = 0;
  #turn: Promise<unknown> = Promise.resolve();
  /** Pieces that were read, and that were had from another's read. */
  readonly counts = { read: 0, shared: 0 };

  constructor(max: number = keptBytesMax) {
    this.#max = max;
  }

  /** Memory held now; what is being read counts when it is there. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A source like the one given, which must be of the same store as all others. */
  share(source: Source): Source {
    let begun = false;
    return {
      identity: () => source.identity(),
      roots: (names) => source.roots(names),
      spoken: (name) => source.spoken?.(name) ?? name,
      links: (ids) => source.links(ids),
      changes: (asked) => source.changes(asked),
      marks: (names) => source.marks(names),
      read: (id, offset, length, codecs = []) =>
        this.#read(`${id} ${offset} ${length} ${codecs.join()}`, () =>
          source.read(id, offset, length, codecs),
        ),
      begin: async () => {
        await source.begin();
        begun = true;
        this.#takers++;
      },
      // One after the other: they remember what each peer has, some of them under the same name.
      end: (ending: Ending) => {
        if (begun && --this.#takers === 0) this.#forget();
        begun = false;
        const ended = this.#turn.then(() => source.end(ending));
        this.#turn = ended.catch(() => undefined);
        return ended;
      },
    };
  }

  /** Each gets bytes of his own: they belong to his transport. */
  async #read(key: string, read: () => Promise<Piece | undefined>): Promise<Piece | undefined> {
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.counts.shared++;
      const piece = copyOf(await known.piece);
      if (--known.left <= 0) this.#drop(key, known);
      return piece;
    }
    this.counts.read++;
    if (this.#takers < 2) return await read();
    const reading = read();
    // What is kept has a buffer of its own; what was read may be a part of a larger one.
    const kept: Kept = { piece: reading.then(copyOf), bytes: 0, left: this.#takers - 1 };
    kept.piece.catch(() => undefined); // told below
    this.#kept.set(key, kept);
    try {
      this.#hold(key, kept, await kept.piece);
      return await reading;
    } catch (error) {
      this.#drop(key, kept); // the next one tries for himself
      throw error;
    }
  }

  #hold(key: string, kept: Kept, piece: Piece | undefined): void {
    if (this.#kept.get(key) !== kept) return;
    kept.bytes = keptOverhead + (piece?.bytes.length ?? 0);
    this.#bytes += kept.bytes;
    for (const [oldest, one] of this.#kept) {
      if (this.#bytes <= this.#max) return;
      this.#drop(oldest, one);
    }
  }

  #drop(key: string, kept: Kept): void {
    if (this.#kept.get(key) !== kept) return;
    this.#kept.delete(key);
    this.#bytes -= kept.bytes;
  }

  #forget(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }
}

function copyOf(piece: Piece | undefined): Piece | undefined {
  // Not `slice`: of a Buffer that is a view.
  return piece && { ...piece, bytes: new Uint8Array(piece.bytes) };
}
