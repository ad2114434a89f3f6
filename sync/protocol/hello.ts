/** What two peers must agree on before anything else: version, namespace, realm, forms of blobs, sizes. */
import { equalBytes } from '../../engine/codec/bytes.ts';
import { StoreError } from '../../engine/errors.ts';
import { payloadBytes, versionMax, versionMin, windowBytes } from './limits.ts';
import { type BlobForm, type HelloMessage, type Namespace, formNumbers, forms } from './message.ts';

/** Who we are. */
export interface Identity {
  readonly storeId: string;
  readonly namespace: Namespace;
  readonly realm: Uint8Array;
}

/** What holds for the rest of the connection. */
export interface Agreement {
  readonly version: number;
  readonly peer: Identity;
  /** The most payload that the peer takes in a frame, and before it gives more credit. */
  readonly payloadBytes: number;
  readonly windowBytes: number;
  /** How blobs may travel, in both directions. */
  readonly forms: readonly BlobForm[];
}

/** `spoken`: the forms in which blobs may come and go, content among them. */
export function helloOf({ storeId, namespace, realm }: Identity, spoken: readonly BlobForm[]): HelloMessage {
  const versions = { min: versionMin, max: versionMax };
  const numbers = spoken.map((form) => formNumbers[form]).sort((a, b) => a - b);
  return { type: 'hello', versions, storeId, namespace, realm, payloadBytes, windowBytes, forms: numbers };
}

/**
 * Refuses a peer with which no blob could be exchanged. Versions were compared when the hello was decoded. `seed`: by locators one side may
 * be of no realm, who wants to be made of the other.
 */
export function agree(mine: HelloMessage, theirs: HelloMessage, seed = false): Agreement {
  if (mine.namespace !== theirs.namespace)
    throw new StoreError(
      'incompatible-format',
      `the peer names blobs by ${theirs.namespace}, this store by ${mine.namespace}: by locators (by: 'locators', --by-locators, and all that is opened without keys) go encrypted stores of one realm, everything else by ids`,
    );
  const isSeed =
    seed && mine.namespace === 'locators' && [mine, theirs].some(({ realm }) => realm.length === 0);
  if (!isSeed && !equalBytes(mine.realm, theirs.realm))
    throw new StoreError(
      'wrong-key',
      'the peer is of another realm: its locators mean nothing here. A replica is made by replicaOf (init --replica-of)',
    );
  if (!theirs.forms.includes(formNumbers.content))
    throw new StoreError('incompatible-format', 'the peer does not take blobs as their content');
  const { storeId, namespace, realm } = theirs;
  return {
    version: Math.min(mine.versions.max, theirs.versions.max),
    peer: { storeId, namespace, realm },
    payloadBytes: theirs.payloadBytes,
    windowBytes: theirs.windowBytes,
    forms: forms.filter((form) => [mine, theirs].every((one) => one.forms.includes(formNumbers[form]))),
  };
}
