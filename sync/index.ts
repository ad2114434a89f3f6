/** The door of sync: replication of roots between stores, and the Merkle map that snapshots are made of. */
export type { PeerOptions, PullOptions, PushOptions, Replicated, Rollback, ServeOptions } from './options.ts';
export { pull, push, serve } from './replicate.ts';
export { type FetchSeedOptions, fetchSeed } from './seed.ts';
export { type FanOut, fanOut } from './fan-out.ts';
export { type RepairFromOptions, type RepairedFrom, repairFrom } from './repair-from.ts';
export type { Quota } from './receiving.ts';
export {
  type ReceiveStreamOptions,
  type ReceivedStream,
  type StreamInput,
  receiveStream,
} from './receive-stream.ts';
export { type SendStreamOptions, type SentStream, sendStream } from './send-stream.ts';
export { type Bookmark, bookmarks } from './peers/notes.ts';
export type { Transport } from './transport.ts';
export { type MessagePortLike, portTransport } from './transports/message-port.ts';
export { pair } from './transports/pair.ts';
export {
  type SshTarget,
  parseSshTarget,
  spawnTransport,
  sshArguments,
  sshTransport,
} from './transports/stdio.ts';
export { socketTransport } from './transports/socket.ts';
export { type Streams, streamTransport } from './transports/streams.ts';
export { type BuiltNode, MapBuilder, buildMap } from './tree/builder.ts';
export { CborReader, CborWriter } from './tree/cbor.ts';
export { type MapChild, type MapNode, decodeMapNode, encodeMapNode } from './tree/map-node.ts';
export { type LoadNode, getEntry, mapEntries, mapLeaves } from './tree/reader.ts';
export { type MapEntry, keyBytesMax, levelsEnded, nodeWeightMax, rulesVersion } from './tree/rules.ts';
