/** All that lies in one member of a mirrored group is damaged or lost: everything reads as it was, and is whole again after a scrub. */
import assert from 'node:assert/strict';
import { full } from '../crash/sample.ts';
import { allHave, harms, isWhole, mirrored, readsAll } from './mirror-store.ts';
import { storeTest } from './store-folder.ts';

for (const copies of [2, 3])
  for (const [turn, [name, harm]] of Object.entries(harms).entries()) {
    if (copies === 3 && name !== 'files deleted' && (!full || name.startsWith('files '))) continue;
    storeTest(
      `${copies} copies, ${name} in any one member: nothing is lost, and a scrub makes it whole`,
      async (folder) => {
        const { ids, members } = await mirrored(folder, copies);
        // In a sample each harm has two of the members in turn: all three between them.
        const chosen = members.filter((_, i) => full || i !== turn % members.length);
        for (const member of chosen) {
          harm(member);
          let store = await folder.open({ mode: 'open' });
          await readsAll(store, ids);
          await folder.closeAll();
          // Reads healed some of it; the rest is found here.
          harm(member);
          store = await folder.open({ mode: 'open' });
          const { damaged, missingCopies } = await store.scrub();
          assert.deepEqual([damaged, missingCopies], [[], 0]);
          allHave(folder, copies);

          assert.equal((await store.gc({ graceMs: 0 })).blocked, undefined);
          await isWhole(store, ids, copies);
          await folder.closeAll();
        }
      },
    );
  }
