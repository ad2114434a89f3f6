/** The door of holdfast: the engine, and snapshots of real folders over it. */
export * from '../engine/index.ts';
export { type PathTotals, countPaths } from './snapshot/count.ts';
export type { FileEntry, FolderEntry, LinkEntry, SnapshotEntry } from './snapshot/entry.ts';
export { type ImportOptions, importPaths } from './snapshot/import.ts';
export type { ImportFailure, ImportProgress, ImportResult, SkippedPath } from './snapshot/import-report.ts';
export { type RestoreOptions, type RestoreProgress, restoreTree } from './snapshot/restore.ts';
export { type WalkStep, type WalkedEntry, findEntry, listFolder, walkTree } from './snapshot/tree.ts';
