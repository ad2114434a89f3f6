/** Every number that a stranger may send, and the most it may be: checked before anything is allocated for it. */
import { runChunksMax, runContentMax } from '../../engine/codec/chunk-run.ts';
import { nodeBytesMax, nodeLinksMax } from '../../engine/codec/node.ts';

export { nodeBytesMax, nodeLinksMax, runChunksMax, runContentMax };

/** A node as a sealed object: 4 MiB, its clear section, sealed and padded take less. */
export const nodeObjectBytesMax: number = 8 * 1024 * 1024;

/** Versions of the protocol spoken here. */
export const versionMin = 1;
export const versionMax = 1;
/** A number of a version that a hello may name, known or not. */
export const versionNumberMax = 65_535;

/** A whole frame: prefix, header and payload. No agreement can raise it. */
export const frameBytesMax: number = 16 * 1024 * 1024;
/** The header of a frame: the longest is a list of roots with long names. */
export const headerBytesMax: number = 1024 * 1024;
/** The payload of a frame, as we ask for it in our hello. */
export const payloadBytes: number = 1024 * 1024;
/** Less than this a peer may not ask for: every small blob would go in crumbs. */
export const payloadBytesMin: number = 4 * 1024;
export const payloadBytesMax: number = frameBytesMax - headerBytesMax - 64;

/** Payload that may be under way to a receiver before it has taken any in, as we ask for it in our hello. */
export const windowBytes: number = 8 * 1024 * 1024;
export const windowBytesMax: number = 256 * 1024 * 1024;
/**
 * What a blob counts against the window beyond its payload: about what a small one takes at the receiver until it is committed, promises
 * and all.
 */
export const blobOverhead = 8192;

/** Roots in one transfer. */
export const rootsMax = 512;
/** Bytes of a root's name, as in the store. */
export const nameBytesMax = 1024;
/** Roots that a receiver may name as common, for each root it asks for. */
export const havesMax = 8;
/** Ids in one want. */
export const wantIdsMax = 1024;
/** Blobs wanted and not yet sent. */
export const wantsMax = 4096;

export const storeIdBytesMax = 64;
export const realmBytesMax = 64;
export const formsMax = 16;
export const formNumberMax = 255;
/** A file of keys: 16 slots, each with 1,024 epochs. */
export const keysBytesMax: number = 704 * 1024;
/** Files of keys that a peer may send in one answer: the one in use, and those that wait. */
export const keysMax = 17;
/** Parameters of a store, as text. */
export const parametersBytesMax = 4096;
export const messageBytesMax = 1024;
export const codeBytesMax = 64;

/** Nodes on the way from a root to a blob, both counted. */
export const depthMax = 128;
/**
 * Memory a receiver gives to nodes whose children are not all here. Above the first figure it asks for one node at a time,
 * the deepest first; above the second it gives up.
 */
export const heldBytesSoft: number = 8 * 1024 * 1024;
export const heldBytesMax: number = 64 * 1024 * 1024;
/** What a link of a held node takes in memory, beside the node's bytes. */
export const heldLinkBytes = 768;
/** Nodes asked for at once. */
export const nodeWantsMax = 256;

/** A blob larger than this is never sent unasked: the receiver may have it, or a part of it. */
export const unaskedBytesMax: number = 256 * 1024;

/** Objects of a difference that a sender plans ahead; a larger one is left to the receiver's wants. */
export const differenceMax = 100_000;

/** A peer that is at work says so this often, ms, */
export const aliveMs = 20_000;
/** and is not believed this many times on end: an hour. */
export const alivesMax = 180;

/** Parts of an offline stream, */
export const partsMax = 0xffff_ffff;
/** and frames that a part repeats: nodes on the way from the root, of 4 MiB at most. */
export const repeatedMax: number = depthMax * Math.ceil(nodeBytesMax / payloadBytesMin);
/** Bytes of blobs after which a part ends, if nothing else is said: what a cut costs. */
export const partBytes: number = 64 * 1024 * 1024;
