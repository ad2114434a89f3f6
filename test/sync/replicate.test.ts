/** Two stores become the same: whole, by difference, both ways, and at what price in bytes and round trips. */
import assert from 'node:assert/strict';
import { seededBytes } from '../crash/random.ts';
import { assertSame, openBoth, pullOver, pushOver, setTree, twoStores } from './stores.ts';

/** `count` files of 1 to `most` bytes. */
function files(count: number, most: number, seed = 1): Map<string, Uint8Array> {
  return new Map(
    Array.from({ length: count }, (_, i) => {
      const size = 1 + ((i * 7919 + seed) % most);
      return [`file ${String(i).padStart(6, '0')}`, seededBytes(seed * 1_000_003 + i, size)];
    }),
  );
}

twoStores('a pull makes the same trees, and a second one finds nothing to do', async (two) => {
  const { source, replica } = await openBoth(two);
  await setTree(source, 'main', files(500, 3000));
  await setTree(source, 'other', files(20, 300, 2));
  const first = await pullOver(source, replica);
  assert.deepEqual(
    first.roots.map(({ name, changed }) => [name, changed]),
    [
      ['main', true],
      ['other', true],
    ],
  );
  await assertSame(source, replica, ['main', 'other']);
  const again = await pullOver(source, replica);
  assert.equal(again.blobs, 0);
  assert.equal(again.roundTrips, 1);
  assert.ok(again.sentBytes + again.receivedBytes < 2000, `${again.sentBytes} + ${again.receivedBytes}`);
});
