/** The door of sync: for now the Merkle map that snapshots are made of; replication is planned. */
export { type BuiltNode, MapBuilder, buildMap } from './tree/builder.ts';
export { CborReader, CborWriter } from './tree/cbor.ts';
export { type MapChild, type MapNode, decodeMapNode, encodeMapNode } from './tree/map-node.ts';
export { type LoadNode, getEntry, mapEntries, mapLeaves } from './tree/reader.ts';
export { type MapEntry, keyBytesMax, levelsEnded, nodeWeightMax, rulesVersion } from './tree/rules.ts';
