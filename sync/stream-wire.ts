/** An offline stream as the receiving role sees it: frames verified and counted, parts checked against their digests, no way to ask. */
import { StoreError, nodeProvider } from '../engine/index.ts';
import { fromHex, toHex } from '../engine/codec/bytes.ts';
import { contentOf, receivedRun } from '../engine/codec/chunk-run.ts';
import { type Incoming, spokenForms } from './connection.ts';
import type { Wire } from './exchange.ts';
import type { Identity } from './peer.ts';
import type { StreamNote } from './peers/notes.ts';
import { ReceiveWindow, SendWindow, costOf } from './protocol/credit.ts';
import { type Frame, FrameReader } from './protocol/frame.ts';
import { agree, helloOf } from './protocol/hello.ts';
import { payloadBytes, windowBytes } from './protocol/limits.ts';
import {
  type BlobForm,
  type FoundRoot,
  type Message,
  decodeMessage,
  formNumbers,
} from './protocol/message.ts';

/** What a stream says of itself before its blobs. */
export interface StreamHead {
  /** The store it was made from. */
  readonly peer: string;
  readonly root: FoundRoot & { readonly id: string };
}

export interface StreamWireOptions {
  readonly identity: Identity;
  /** Where the bytes begin that come. */
  readonly at: StreamNote;
  /** All before this place is stored. */
  readonly onPart: (at: StreamNote) => Promise<void>;
}

export const streamBegin: StreamNote = { offset: 0, frames: 0, number: 0, digest: '0'.repeat(64) };

export class StreamWire implements Wire {
  readonly receiveWindow: ReceiveWindow = new ReceiveWindow(windowBytes);
  readonly #room = new SendWindow(windowBytes);
  readonly #input: AsyncIterator<Uint8Array>;
  readonly #options: StreamWireOptions;
  readonly #reader: FrameReader;
  #hasher = nodeProvider.hasher();
  /** The part that is being read, or that begins next. */
  #part: Pick<StreamNote, 'number' | 'digest'>;
  #offset: number;
  #state: 'hello' | 'part' | 'roots' | 'blobs' | 'sealed' | 'ending' | 'ended' = 'hello';
  #head: StreamHead | undefined;
  #peer = '';
  /** How blobs may come. */
  #forms: readonly BlobForm[] = [];
  /** Frames that only repeat what the parts before have. */
  #repeated = 0;
  /** Told next. */
  #told: Message | undefined;
  /** A blob that there is no room for yet. */
  #waiting: Incoming | undefined;
  #credited: (() => void) | undefined;

  constructor(input: AsyncIterator<Uint8Array>, options: StreamWireOptions) {
    this.#input = input;
    this.#options = options;
    this.#part = options.at;
    this.#offset = options.at.offset;
    this.#reader = new FrameReader(nodeProvider, payloadBytes, { sequence: options.at.frames });
  }

  takes(form: BlobForm): boolean {
    return this.#forms.includes(form);
  }

  /** Bytes read and verified as frames, those before `at` included. */
  get offset(): number {
    return this.#offset;
  }

  /** Reads up to the first blob. */
  async begin(): Promise<StreamHead> {
    while (this.#head === undefined) {
      const frame = this.#frame();
      if (frame !== undefined) this.#take(frame);
      else await this.#read();
    }
    this.#told = { type: 'roots', roots: [this.#head.root] };
    return this.#head;
  }

  recycle(payload: Uint8Array): void {
    this.#reader.recycle(payload);
  }

  send(message: Message): void {
    if (message.type === 'credit') {
      this.#room.give(message.bytes);
      this.#credited?.();
    } else if (message.type === 'want') {
      const [first] = message.wants;
      throw new StoreError(
        'not-found',
        'the stream builds on what is not here, or was collected since: receive it from its beginning, or make one without that base',
        { id: first!.id },
      );
    }
  }

  poll(): Incoming | undefined {
    if (this.#told !== undefined) {
      const message = this.#told;
      this.#told = undefined;
      return { message, payload: new Uint8Array(0) };
    }
    for (;;) {
      const blob = this.#waiting ?? this.#next();
      this.#waiting = blob;
      if (blob === undefined || !this.#room.take(this.#costOf(blob))) return undefined;
      this.#waiting = undefined;
      return blob;
    }
  }

  async more(quiet: () => Promise<void>): Promise<boolean> {
    if (this.#waiting !== undefined) {
      await new Promise<void>((resolve) => (this.#credited = resolve));
      this.#credited = undefined;
    } else if (this.#state === 'sealed') {
      await quiet();
      const { number, digest } = this.#part;
      await this.#options.onPart({ offset: this.#offset, frames: this.#reader.sequence, number, digest });
      this.#state = 'hello';
    } else if (this.#state === 'ending') {
      await this.#expectEnd();
      this.#state = 'ended';
      // Only now may the root be believed in.
      this.#told = { type: 'streamed', root: 0 };
    } else if (this.#state === 'ended') {
      await quiet();
      return false;
    } else await this.#read();
    return true;
  }

  /** The next blob that is here. */
  #next(): Incoming | undefined {
    while (this.#state !== 'sealed' && this.#state !== 'ending' && this.#state !== 'ended') {
      const frame = this.#frame();
      if (frame === undefined) return undefined;
      const message = this.#take(frame);
      if (message?.type === 'blob') return { message, payload: frame.payload };
    }
    return undefined;
  }

  /** The next frame that is here. */
  #frame(): Frame | undefined {
    return damaged(() => this.#reader.next());
  }

  /** Takes a frame in; a blob that has not come before is returned. */
  #take(frame: Frame): Message | undefined {
    const message = decodeMessage(frame.header);
    this.#offset += frame.head.length + frame.payload.length;
    if (this.#state === 'hello') {
      this.#hasher = nodeProvider.hasher();
      this.#hasher.update(fromHex(this.#part.digest)!);
    }
    if (message.type !== 'seal') {
      this.#hasher.update(frame.head);
      this.#hasher.update(frame.payload);
    }
    if (message.type !== 'blob' && frame.payload.length > 0) throw bad(`a "${message.type}" has a payload`);
    if (message.type === 'hello' && this.#state === 'hello') this.#hello(message);
    else if (message.type === 'part' && this.#state === 'part') this.#begins(message);
    else if (message.type === 'roots' && this.#state === 'roots') this.#roots(message.roots);
    else if (message.type === 'blob' && this.#state === 'blobs') {
      if (this.#repeated === 0) return message;
      this.#repeated--;
    } else if (message.type === 'seal' && this.#state === 'blobs') this.#seal(message);
    else throw bad(`"${message.type}" has no place where it comes`);
    return undefined;
  }

  #hello(message: Extract<Message, { readonly type: 'hello' }>): void {
    const { peer, forms } = agree(helloOf(this.#options.identity, spokenForms), message);
    if (forms.length < message.forms.length)
      throw new StoreError(
        'incompatible-format',
        'the stream is compressed in a way that this runtime has not got: write it without',
      );
    this.#forms = forms;
    if (this.#head !== undefined && peer.storeId !== this.#peer)
      throw bad('its parts are of different stores');
    this.#peer = peer.storeId;
    this.#state = 'part';
  }

  #begins({ number, digest, repeated }: Extract<Message, { readonly type: 'part' }>): void {
    if (number !== this.#part.number || digest !== this.#part.digest)
      throw bad(`its part ${number} comes where part ${this.#part.number} belongs`);
    // Whoever begins here needs the nodes above; whoever comes from the part before has them.
    this.#repeated = this.#head === undefined ? 0 : repeated;
    this.#state = 'roots';
  }

  #roots(roots: readonly FoundRoot[]): void {
    const [root] = roots;
    if (root === undefined || roots.length > 1 || root.id === null) throw bad('it is not of one root');
    const known = this.#head?.root;
    const same = ['name', 'id', 'kind', 'base'] as const;
    if (known !== undefined && same.some((field) => known[field] !== root[field]))
      throw bad('its parts are of different roots');
    this.#head ??= { peer: this.#peer, root: { ...root, id: root.id } };
    this.#state = 'blobs';
  }

  #seal({ digest, last }: Extract<Message, { readonly type: 'seal' }>): void {
    if (this.#repeated > 0) throw bad('it repeats less than it says');
    if (toHex(this.#hasher.digest()) !== digest)
      throw bad(`part ${this.#part.number} does not match its digest`);
    this.#part = { number: this.#part.number + 1, digest };
    this.#state = last ? 'ending' : 'sealed';
  }

  #costOf({ message, payload: bytes }: Incoming): number {
    const { kind, form } = message as Extract<Message, { readonly type: 'blob' }>;
    // A form that was not agreed is refused by whoever takes it in.
    const isRun = form !== 'content' && this.takes(form);
    const length = isRun ? damaged(() => contentOf(receivedRun(bytes, formNumbers[form]))) : bytes.length;
    return costOf({ kind, bytes, length });
  }

  async #read(): Promise<void> {
    const bytes = await this.#bytes();
    if (bytes === undefined)
      throw new StoreError('unavailable', 'the stream ends before its end: it was cut', {
        offset: this.#offset,
      });
    this.#reader.push(bytes);
  }

  async #expectEnd(): Promise<void> {
    if (this.#reader.inside || (await this.#bytes()) !== undefined) throw bad('there is more after its end');
  }

  /** The next bytes, at least one; undefined at the end of the input. */
  async #bytes(): Promise<Uint8Array | undefined> {
    for (;;) {
      const next = await this.#input.next().catch((error: unknown) => {
        if (StoreError.is(error)) throw error;
        throw new StoreError('unavailable', 'the stream cannot be read', { offset: this.#offset }, error);
      });
      if (next.done === true) return undefined;
      if (next.value.length > 0) return next.value;
    }
  }
}

/** No frame or run of a file is over a limit: it is damaged. */
function damaged<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw StoreError.is(error, 'limit-exceeded') ? bad(error.message) : error;
  }
}

function bad(how: string): StoreError {
  return new StoreError('corrupt', `not a stream of holdfast, or a damaged one: ${how}`);
}
