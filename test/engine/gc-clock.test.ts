/** Collection and clocks that are wrong when a store is opened: years ahead, then set right. */
import assert from 'node:assert/strict';
import { manualHost } from './manual-host.ts';
import { storeTest, text } from './store-folder.ts';

const hour = 3_600_000;
const day = 24 * hour;
const start = Date.UTC(2025, 0, 1);

storeTest(
  'a clock that was ten years ahead when the store was opened deletes nothing within a grace',
  async (folder) => {
    const before = await folder.open({ host: manualHost(start) });
    await before.put(text('young'));
    const { id } = await before.put(text('a root'));
    await before.roots.set('main', id);
    await before.roots.delete('main');
    await before.close();
    const host = manualHost(start + 3650 * day);
    const store = await folder.open({ host });
    for (let turn = 0; turn < 2; turn++) {
      const result = await store.gc();
      assert.deepEqual([result.deleted, result.held], [0, 2]);
      assert.match(result.blocked!, /a month or more ahead/);
    }
    // Opened once more, it has not forgotten.
    await store.close();
    const again = await folder.open({ host });
    assert.notEqual((await again.gc()).blocked, undefined);
    assert.equal(await again.roots.restore('main'), id);
    host.clock.advance(day + hour);
    const after = await again.gc();
    assert.deepEqual([after.deleted, after.held, after.blocked], [1, 0, undefined]);
  },
);

storeTest('three weeks of rest are no doubt, and grace 0 waits for no clock', async (folder) => {
  const first = await folder.open({ host: manualHost(start) });
  await first.put(text('one'));
  await first.close();
  const second = await folder.open({ host: manualHost(start + 21 * day) });
  assert.equal((await second.gc()).deleted, 1);
  await second.put(text('two'));
  await second.close();
  const third = await folder.open({ host: manualHost(start + 60 * day) });
  assert.equal((await third.gc()).deleted, 0);
  assert.equal((await third.gc({ graceMs: 0 })).deleted, 1);
});

storeTest(
  'after a clock that ran ahead was set right, what is young is held, and health says why',
  async (folder) => {
    const ahead = await folder.open({ host: manualHost(start + 3650 * day) });
    await ahead.put(text('put in the future'));
    await ahead.close();
    const host = manualHost(start);
    const store = await folder.open({ host });
    const { state, reasons, clockAheadMs } = await store.health();
    assert.equal(state, 'at-risk');
    assert.match(reasons.join(), /3650 day\(s\) ahead/);
    assert.equal(clockAheadMs, 3650 * day);
    host.clock.advance(30 * day);
    assert.deepEqual(await store.gc(), { deleted: 0, freedBytes: 0, held: 1 });
    assert.equal((await store.gc({ graceMs: 0 })).deleted, 1);
  },
);
