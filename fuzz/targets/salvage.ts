/** The target of salvage: files of SQLite volumes in any state, and files that only look like it. */
import { readRecord } from '../../engine/codec/record.ts';
import { salvageRecords } from '../../engine/codec/salvage.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { makeVolume } from '../../test/engine/damaged-volume.ts';
import { type Target, promise, refusable, same } from '../target.ts';

const made = new Map<number, Uint8Array>();

/** Small ones, of which mutations reach every page. */
function volume(seed: number): Uint8Array {
  let file = made.get(seed);
  if (file === undefined) {
    const sizes = [0, 100, 1000, 5000, 17_000];
    file = makeVolume(seed, {
      commits: 1 + (seed % 3),
      extentBytes: 4096 * (1 + (seed % 8)),
      records: 12,
      sizes,
    }).file;
    made.set(seed, file);
  }
  return file;
}

export const salvage: Target = {
  name: 'salvage',
  valid: (random) => volume(random.below(24)).slice(),
  check: (bytes) => {
    const before = bytes.slice();
    const read = (position: number, length: number): Uint8Array =>
      bytes.subarray(position, position + length);
    let found = 0;
    let given = 0;
    refusable(['incompatible-format'], () => {
      for (const { record, bytes: own } of salvageRecords(provider, read, bytes.length)) {
        found++;
        given += own.length;
        promise(record.length === own.length, 'a record of another length than its bytes');
        const again = readRecord(provider, own, 0);
        promise(
          same(again.content(), record.content()),
          'a record that reads otherwise when it is read again',
        );
        promise(
          record.head.contentBytes === record.content().length,
          'a record of another length than it says',
        );
      }
    });
    promise(same(before, bytes), 'salvage changed its input');
    promise(given <= 64 * bytes.length + 2 ** 26, 'the same is given again and again');
    return found > 0 ? 'accepted' : 'refused';
  },
};
