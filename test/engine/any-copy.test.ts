/** Reads that meet a blob on the move: they go after it, and what they missed where it no longer lies is no damage. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlobRow } from '../../engine/catalog/blob-rows.ts';
import { AnyCopy } from '../../engine/content/any-copy.ts';
import { damaged } from '../../engine/content/damage.ts';
import { StoreError } from '../../engine/errors.ts';
import { withCode } from './store-folder.ts';

/** The blob in a volume. */
function inVolume(volume: number): BlobRow {
  return {
    n: 1,
    id: new Uint8Array(32),
    kind: 0,
    codec: 0,
    size: 1,
    stored: 1,
    volume,
    extent: 0,
    start: 0,
    incarnation: volume,
    refcount: 1,
    created: 0,
    touched: 0,
    touched_gen: 0,
    zero_since: null,
    zero_gen: null,
    suspect: 0,
    label: null,
  };
}

/** A blob whose copies lie in some volumes; those in others fail to be read, and may put it elsewhere while they do. */
function moving(begin: readonly number[], trouble: Record<number, readonly number[]>) {
  let at = begin;
  const told: string[] = [];
  const copies = new AnyCopy({
    rows: { byNumber: () => (at.length === 0 ? undefined : inVolume(at[0]!)) },
    chunkBytes: 4096,
    copiesOf: () => at.slice(1).map(inVolume),
    lentCopies: () => [],
    passedOver: (error) => void told.push(String(error.facts['volumeNumber'])),
  });
  const read = (): number =>
    copies.read(inVolume(begin[0]!), ({ volume }) => {
      const next = trouble[volume];
      if (next === undefined) return volume;
      at = next;
      throw damaged(inVolume(volume), 'its file is missing');
    });
  return { read, told };
}

test('a blob that moved on is read where it lies now, and nothing is told of where it lay', () => {
  const { read, told } = moving([1], { 1: [2] });
  assert.equal(read(), 2);
  assert.deepEqual(told, []);
});

test('also when it moves on again and again', () => {
  const { read, told } = moving([1], { 1: [2], 2: [3], 3: [4] });
  assert.equal(read(), 4);
  assert.deepEqual(told, []);
});

test('a copy that is damaged where it lies is told', () => {
  const { read, told } = moving([1, 2], { 1: [1, 2] });
  assert.equal(read(), 2);
  assert.deepEqual(told, ['1']);
});

test('where all are damaged the first is what the read fails with, and the others are told', () => {
  const { read, told } = moving([1, 2, 3], { 1: [1, 2, 3], 2: [1, 2, 3], 3: [1, 2, 3] });
  assert.throws(read, (error) => StoreError.is(error, 'corrupt') && error.facts['volumeNumber'] === 1);
  assert.deepEqual(told, ['2', '3']);
});

test('one that was collected while it was read fails with what was found', () => {
  const { read, told } = moving([1], { 1: [] });
  assert.throws(read, withCode('corrupt'));
  assert.deepEqual(told, []);
});
