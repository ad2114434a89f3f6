/** A peer that says whatever a test wants it to, well-formed or not. */
import { nodeProvider } from '../../engine/index.ts';
import { CborWriter, type Transport } from '../../sync/index.ts';
import { FrameReader, FrameWriter, prefixBytes } from '../../sync/protocol/frame.ts';
import { spokenForms } from '../../sync/connection.ts';
import { helloOf } from '../../sync/protocol/hello.ts';
import { type Message, decodeMessage, encodeMessage } from '../../sync/protocol/message.ts';

export const goodHello = helloOf(
  { storeId: 'scripted', namespace: 'ids', realm: new Uint8Array(0) },
  spokenForms,
);

export class ScriptedPeer {
  readonly transport: Transport;
  readonly #writer = new FrameWriter(nodeProvider);
  readonly #reader = new FrameReader(nodeProvider);
  #hello = goodHello;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Says hello, so that the rest is listened to. */
  async hello(): Promise<void> {
    await this.say(this.#hello);
  }

  /** What it says then. */
  helloAs(hello: typeof goodHello): void {
    this.#hello = hello;
  }

  async say(message: Message, payload: Uint8Array = new Uint8Array(0)): Promise<void> {
    await this.frame(encodeMessage(message), payload);
  }

  /** A frame around any header. */
  async frame(header: Uint8Array, payload: Uint8Array = new Uint8Array(0)): Promise<void> {
    await this.bytes(Buffer.concat([this.#writer.head(header, payload.length), payload]));
  }

  /** The head of a frame, changed after its checksum was made, or before. */
  async crooked(change: (head: Buffer) => void, checksum: 'kept' | 'made anew'): Promise<void> {
    const head = Buffer.from(this.#writer.head(encodeMessage({ type: 'bye' }), 0));
    change(head);
    if (checksum === 'made anew') {
      const covered = Buffer.concat([head.subarray(0, 12), head.subarray(prefixBytes)]);
      head.writeUInt32LE(nodeProvider.crc32(covered), 12);
    }
    await this.bytes(head);
  }

  async bytes(bytes: Uint8Array): Promise<void> {
    await this.transport.send(new Uint8Array(bytes));
  }

  /** Listens until a message of this type comes; everything before is let pass. */
  async hear<Type extends Message['type']>(type: Type): Promise<Extract<Message, { readonly type: Type }>> {
    for (;;) {
      const frame = this.#reader.next();
      if (frame === undefined) {
        const bytes = await this.transport.receive();
        if (bytes === undefined) throw new Error(`the victim closed before it said "${type}"`);
        this.#reader.push(bytes);
        continue;
      }
      const message = decodeMessage(frame.header);
      if (message.type === type) return message as Extract<Message, { readonly type: Type }>;
      if (message.type === 'error') throw new Error(`the victim said ${message.code}: ${message.message}`);
    }
  }

  /** A blob in one frame. */
  async blob(
    kind: 'raw' | 'node',
    id: string,
    bytes: Uint8Array,
    how: Partial<BlobHead> = {},
  ): Promise<void> {
    const head = { size: bytes.length, offset: 0, form: 'content', ...how } as const;
    await this.say({ type: 'blob', kind, id, ...head }, bytes);
  }
}

export type BlobHead = Pick<Extract<Message, { readonly type: 'blob' }>, 'size' | 'offset' | 'form'>;

/** A header by hand, for what `encodeMessage` would not write. */
export function header(write: (writer: CborWriter) => void): Uint8Array {
  const writer = new CborWriter();
  write(writer);
  return writer.finish();
}
