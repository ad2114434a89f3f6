/** The door of holdfast: the engine, snapshots of real folders over it, and replication between stores. */
export * from '../engine/index.ts';
export {
  type Bookmark,
  type FanOut,
  type MessagePortLike,
  type PeerOptions,
  type PullOptions,
  type PushOptions,
  type Quota,
  type ReceiveStreamOptions,
  type ReceivedStream,
  type RepairFromOptions,
  type RepairedFrom,
  type Replicated,
  type Rollback,
  type SendStreamOptions,
  type SentStream,
  type ServeOptions,
  type StreamInput,
  type SshTarget,
  type Streams,
  type Transport,
  type FetchSeedOptions,
  bookmarks,
  fanOut,
  fetchSeed,
  pair,
  parseSshTarget,
  portTransport,
  pull,
  push,
  receiveStream,
  repairFrom,
  sendStream,
  serve,
  socketTransport,
  spawnTransport,
  sshArguments,
  sshTransport,
  streamTransport,
} from '../sync/index.ts';
export { type HttpOptions, httpTransport, parseHttpAddress } from './http/client.ts';
export { type SyncHandler, type SyncHandlerOptions, type SyncSession, syncHandler } from './http/handler.ts';
export { type ListenOptions, type Listening, isLoopback, listenHttp } from './http/listen.ts';
export { pacedTransport } from './http/paced.ts';
export { type Remote, type Remotes, isRemoteName, remotesOf } from './http/remotes.ts';
export { type Scope, type TokenInfo, type Tokens, scopes, tokensOf } from './http/tokens.ts';
export { pathOfChain } from './snapshot/chain-path.ts';
export { type PathTotals, countPaths } from './snapshot/count.ts';
export { type DiffOptions, type TreeChange, diffTrees } from './snapshot/diff.ts';
export type { FileEntry, FolderEntry, LinkEntry, SnapshotEntry } from './snapshot/entry.ts';
export { type ImportOptions, importPaths } from './snapshot/import.ts';
export type { ImportFailure, ImportProgress, ImportResult, SkippedPath } from './snapshot/import-report.ts';
export { type RestoreOptions, type RestoreProgress, restoreTree } from './snapshot/restore.ts';
export { type WalkStep, type WalkedEntry, findEntry, listFolder, walkTree } from './snapshot/tree.ts';
