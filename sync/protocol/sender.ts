/** The sending side as a state machine: what was asked for, what is read next, what may be sent within the receiver's window. No I/O. */
import { StoreError, invariant } from '../../engine/errors.ts';
import { type SendWindow, costOf } from './credit.ts';
import type { TreeLink } from './difference.ts';
import { unaskedBytesMax, wantsMax } from './limits.ts';
import {
  type AskedRoot,
  type BlobId,
  type FoundRoot,
  type LinkKind,
  type Message,
  type RootHistory,
  formNumbers,
  forms,
} from './message.ts';

/** What the machine asks of whoever runs it; each but `send` is answered by a call of the same name. */
export type SenderEffect =
  | { readonly do: 'send'; readonly message: Message; readonly payload?: Uint8Array }
  /** Which roots there are, and what they have beyond the nodes named. Answer: `found`. */
  | { readonly do: 'find'; readonly ask: { readonly all: boolean; readonly roots: readonly AskedRoot[] } }
  /** Answer: `read`, with at most `length` bytes of content from `offset`; none only at the end. */
  | { readonly do: 'read'; readonly read: PieceRead }
  | { readonly do: 'finish'; readonly counts: SendCounts };

export interface PieceRead {
  readonly kind: LinkKind;
  readonly id: BlobId;
  readonly offset: number;
  readonly length: number;
}

/** A piece of a blob, and how large the whole is. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly size: number;
  /** How its chunks are compressed, by number; 0, the default: it is content. */
  readonly codec?: number;
  /** Bytes of content that it stands for; default those that it has. */
  readonly length?: number;
}

/** Bytes of content. */
export function lengthOf({ bytes, length }: Piece): number {
  return length ?? bytes.length;
}

export interface SendCounts {
  readonly blobs: number;
  readonly bytes: number;
  /** What the receiver says of each root: whether it moved. */
  readonly changed: readonly boolean[];
}

/** A root that was found, where it stands in the log here, and the blobs to send unasked when it has a base. */
export type PlannedRoot = FoundRoot & { readonly history: RootHistory; readonly items: readonly TreeLink[] };

export interface SenderOptions {
  readonly window: SendWindow;
  /** The most payload the receiver takes in a frame. */
  readonly payloadBytes: number;
}

/** What is to be sent, in this order. */
type Item =
  | { readonly streamed: number }
  | {
      readonly kind: LinkKind;
      readonly id: BlobId;
      readonly from: number;
      /** Nobody has asked for it: left out when it is not there, or large. */
      readonly unasked: boolean;
    };

type BlobItem = Extract<Item, { readonly id: BlobId }>;

/** An item that is being read. */
interface Slot {
  readonly item: Item;
  /** Pieces read and not sent, in order. */
  readonly pieces: Piece[];
  size: number | undefined;
  /** Offsets read, and sent, up to here. */
  readTo: number;
  sentTo: number;
  reading: boolean;
  absent: boolean;
}

/** The first piece of a blob that is read before its size is known; a store reads so much in one go with others. */
export const firstPieceBytes: number = 64 * 1024;
/** Blobs read ahead of what is sent. With the first piece this bounds the memory of a sender: 16 MiB, if suddenly all are large. */
const slotsMax = 256;
/** Bytes read ahead, as far as the sizes of the blobs before tell. */
const aheadBytes: number = 4 * 1024 * 1024;
/** Blobs are read so many at a time, where there is room: a store reads those of one question together. */
const readsTogether = 64;
/** Pieces of one large blob that are read and not sent. */
const piecesAhead = 2;

export class Sender {
  readonly #options: SenderOptions;
  readonly #effects: SenderEffect[] = [];
  #state: 'idle' | 'finding' | 'sending' | 'finished' = 'idle';
  /** Not begun; taken from `#next`. */
  #queue: Item[] = [];
  #next = 0;
  readonly #slots: Slot[] = [];
  readonly #reads = new Map<PieceRead, Slot>();
  /** Bytes that a first piece is taken to have: a mean of those that came. */
  #expected: number = firstPieceBytes;
  #wanted = 0;
  #roots = 0;
  #blobs = 0;
  #bytes = 0;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  drain(): SenderEffect[] {
    this.#pump();
    return this.#effects.splice(0);
  }

  message(message: Message): void {
    switch (message.type) {
      case 'ask':
        this.#expect('idle', message);
        this.#state = 'finding';
        this.#effects.push({ do: 'find', ask: { all: message.all, roots: message.roots } });
        return;
      case 'want':
        this.#expect('sending', message);
        this.#wanted += message.wants.length;
        if (this.#wanted > wantsMax)
          throw new StoreError('limit-exceeded', `the peer wants more than ${wantsMax} blobs at once`);
        for (const want of message.wants) this.#queue.push({ ...want, unasked: false });
        return;
      case 'credit':
        this.#options.window.give(message.bytes);
        return;
      case 'done': {
        this.#expect('sending', message);
        if (message.changed.length !== this.#roots)
          throw new StoreError('corrupt', 'the peer ends a transfer of other roots');
        this.#state = 'finished';
        const { changed } = message;
        this.#effects.push({ do: 'finish', counts: { blobs: this.#blobs, bytes: this.#bytes, changed } });
        return;
      }
      default:
        throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`, {
          state: this.#state,
        });
    }
  }

  found(roots: readonly PlannedRoot[]): void {
    this.#state = 'sending';
    this.#roots = roots.length;
    const told = roots.map(({ name, id, kind, base }) => ({ name, id, kind, base }));
    if (roots.length > 0)
      this.#effects.push({
        do: 'send',
        message: { type: 'history', roots: roots.map(({ history }) => history) },
      });
    this.#effects.push({ do: 'send', message: { type: 'roots', roots: told } });
    for (const [i, { base, items }] of roots.entries()) {
      if (base === null) continue;
      for (const { kind, id } of items) this.#queue.push({ kind, id, from: 0, unasked: true });
      this.#queue.push({ streamed: i });
    }
  }

  /** The answer to a `read` effect, which is named by the very object it carried; `undefined`: the blob is not there. */
  read(read: PieceRead, piece: Piece | undefined): void {
    const slot = this.#reads.get(read);
    invariant(slot !== undefined, 'only what is being read is read');
    this.#reads.delete(read);
    slot.reading = false;
    if (piece === undefined) {
      slot.absent = true;
      return;
    }
    if (piece.size < read.offset && 'id' in slot.item) {
      // The receiver holds the beginning of something else: it gets all of this.
      slot.readTo = slot.sentTo = 0;
      this.#readOn(slot, slot.item, firstPieceBytes);
      return;
    }
    slot.size = piece.size;
    if (read.length === firstPieceBytes)
      this.#expected = Math.max(1024, (15 * this.#expected + piece.bytes.length) / 16);
    slot.readTo = read.offset + lengthOf(piece);
    if (lengthOf(piece) > 0 || piece.size === read.offset) slot.pieces.push(piece);
    const isLarge = piece.size > unaskedBytesMax || piece.codec === formNumbers.manifest;
    if ('id' in slot.item && slot.item.unasked && isLarge) slot.absent = true;
  }

  #expect(state: string, message: Message): void {
    if (this.#state === state) return;
    throw new StoreError('corrupt', `the peer sends "${message.type}" where it has no place`, {
      state: this.#state,
    });
  }

  /** Sends what has been read as far as the window goes, and reads ahead. */
  #pump(): void {
    if (this.#state !== 'sending') return;
    for (;;) {
      this.#fill();
      const slot = this.#slots[0];
      if (slot === undefined || !this.#sendFront(slot)) return;
      this.#slots.shift();
    }
  }

  #fill(): void {
    const most = Math.min(slotsMax, Math.max(readsTogether, Math.floor(aheadBytes / this.#expected)));
    if (this.#slots.length > most - readsTogether / 2) return;
    while (this.#slots.length < most && this.#next < this.#queue.length) {
      const item = this.#queue[this.#next++]!;
      const from = 'id' in item ? item.from : 0;
      const slot: Slot = {
        item,
        pieces: [],
        size: undefined,
        readTo: from,
        sentTo: from,
        reading: false,
        absent: false,
      };
      this.#slots.push(slot);
      if ('id' in item) this.#readOn(slot, item, firstPieceBytes);
    }
    if (this.#next > 1024 && this.#next * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
  }

  #readOn(slot: Slot, { kind, id }: BlobItem, length: number): void {
    slot.reading = true;
    const most = Math.min(length, this.#options.payloadBytes);
    const read = { kind, id, offset: slot.readTo, length: most };
    this.#reads.set(read, slot);
    this.#effects.push({ do: 'read', read });
  }

  /** True when the slot is done with. */
  #sendFront(slot: Slot): boolean {
    const { item } = slot;
    if (!('id' in item)) {
      this.#effects.push({ do: 'send', message: { type: 'streamed', root: item.streamed } });
      return true;
    }
    const { kind, id } = item;
    if (slot.absent) {
      if (slot.sentTo > item.from)
        throw new StoreError('unavailable', `blob ${id} was lost while it was being sent`, { id });
      if (!item.unasked) this.#effects.push({ do: 'send', message: { type: 'absent', kind, id } });
      return this.#done(item);
    }
    while (slot.pieces.length > 0) {
      const piece = slot.pieces[0]!;
      const { bytes: payload, codec = 0 } = piece;
      if (!this.#options.window.take(costOf({ kind, bytes: payload, length: lengthOf(piece) }))) return false;
      slot.pieces.shift();
      const message = {
        type: 'blob',
        kind,
        id,
        form: forms[codec]!,
        size: slot.size!,
        offset: slot.sentTo,
      } as const;
      this.#effects.push({ do: 'send', message, payload });
      slot.sentTo += lengthOf(piece);
      this.#bytes += lengthOf(piece);
    }
    if (slot.size === slot.sentTo) {
      this.#blobs++;
      return this.#done(item);
    }
    if (slot.size !== undefined && !slot.reading && slot.pieces.length < piecesAhead)
      this.#readOn(slot, item, this.#options.payloadBytes);
    return false;
  }

  #done(item: BlobItem): true {
    if (!item.unasked) this.#wanted--;
    return true;
  }
}
