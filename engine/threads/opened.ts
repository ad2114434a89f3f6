/** What the commit thread is told to open, and what it answers. */
import type { EncryptionOptions, ReplicaSeed, StoreParameters } from '../api.ts';
import type { StoreLayout } from '../catalog/layout.ts';
import type { DriverChoice } from '../driver.ts';
import type { RecoverReport } from '../maintenance/recover.ts';

export interface WriterOptions {
  readonly root: string;
  readonly mode: 'create' | 'open' | 'read-only';
  readonly durability: 'full' | 'relaxed';
  readonly driver: DriverChoice;
  readonly parameters: StoreParameters;
  readonly encryption?: EncryptionOptions;
  readonly replicaOf?: ReplicaSeed<StoreParameters>;
}

/** What the calling thread and the workers need to know of an open store. */
export interface OpenedStore {
  readonly layout: StoreLayout;
  readonly storeId: string;
  readonly format: number;
  readonly parameters: StoreParameters;
  /** Encoded, of an encrypted store that was opened with a key. Whoever takes it wipes it. */
  readonly keyring?: Uint8Array;
  readonly lease?: string;
  readonly recovered?: RecoverReport;
}
