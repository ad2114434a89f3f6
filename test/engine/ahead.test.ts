/** Reading ahead: whatever comes or fails to come, the bytes are those of the file, all memory is given back, and files are closed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ahead } from '../../engine/content/ahead.ts';
import type { DirectFile, Host, OpenFile } from '../../engine/host.ts';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import { noise, storeTest } from './store-folder.ts';

const pieceBytes = 256 * 1024;
const alignBytes = 4096;
const sliceBytes = 65_536;
const content = noise(1_300_000);

/** What becomes of a direct read of a number. */
type Fate = 'fine' | 'fails' | 'short' | 'empty' | 'late';

class StandIn {
  plainReads = 0;
  directReads = 0;
  /** Pieces that were handed out and not given back. */
  held = 0;
  open = 0;
  readonly #fate: (read: number) => Fate;
  late: (() => void)[] = [];

  constructor(fate: (read: number) => Fate = () => 'fine') {
    this.#fate = fate;
  }

  file(): OpenFile {
    this.open++;
    return {
      read: (target: Uint8Array, position: number) => {
        this.plainReads++;
        const part = content.subarray(position, position + target.length);
        target.set(part);
        return part.length;
      },
      facts: () => ({ size: content.length }),
      close: () => this.open--,
      direct: () => this.#direct(),
    } as unknown as OpenFile;
  }

  #direct(): DirectFile {
    this.open++;
    return {
      alignBytes,
      read: async (position) => {
        assert.equal(position % alignBytes, 0);
        const fate = this.#fate(this.directReads++);
        if (fate === 'late') await new Promise<void>((resolve) => this.late.push(resolve));
        if (fate === 'fails') throw Object.assign(new Error('EIO'), { code: 'EIO' });
        this.held++;
        const length = fate === 'empty' ? 0 : fate === 'short' ? 5000 : pieceBytes;
        return content.slice(position, position + length);
      },
      release: (bytes: Uint8Array) => {
        bytes.fill(0);
        this.held--;
      },
      close: () => void this.open--,
    };
  }
}

async function readWhole(standIn: StandIn, begin = 0, seen?: () => void): Promise<void> {
  const ahead = new Ahead();
  const file = ahead.of(standIn.file());
  const slice = new Uint8Array(sliceBytes);
  for (let at = begin; at < content.length;) {
    const wanted = slice.subarray(0, content.length - at);
    const view = seen && file.view!(at, wanted.length);
    if (view !== undefined) seen!();
    const bytes = view ?? wanted.subarray(0, file.read(wanted, at));
    assert.deepEqual(bytes, content.subarray(at, at + sliceBytes));
    at += bytes.length;
    await ahead.ready();
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
    assert.ok(standIn.held <= 2, 'a fast disk fills no memory');
  }
  assert.equal(file.read(slice, content.length), 0);
  file.close();
  for (const resolve of standIn.late) resolve();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([standIn.held, standIn.open], [0, 0]);
}

test('after the first slice nothing is waited for twice: all of it comes ahead', async () => {
  const standIn = new StandIn();
  await readWhole(standIn);
  assert.deepEqual(
    [standIn.plainReads, standIn.directReads],
    [2, Math.ceil((content.length - sliceBytes) / pieceBytes)],
  );
});

test('what came ahead is seen without a copy, where it lies in one piece', async () => {
  for (const begin of [0, 1, 4095, 300_001]) {
    let views = 0;
    await readWhole(new StandIn(), begin, () => void views++);
    const most = Math.floor((content.length - begin) / sliceBytes);
    assert.ok(views >= most / 2 && views <= most, `${views} of ${most} from ${begin}`);
  }
  for (const bad of [1, 3])
    await readWhole(new StandIn((read) => (read === bad ? 'fails' : 'fine')), 1, () => {});
});

test('slices may begin anywhere', async () => {
  for (const begin of [1, 4095, 4097, 300_001]) await readWhole(new StandIn(), begin);
});

for (const fate of ['fails', 'short', 'empty'] as const)
  test(`a piece that ${fate === 'fails' ? 'fails' : `is ${fate}`} is read as from any file`, async () => {
    for (const bad of [0, 1, 3]) {
      const standIn = new StandIn((read) => (read === bad ? fate : 'fine'));
      await readWhole(standIn);
      assert.equal(standIn.directReads, bad + 1);
      assert.ok(standIn.plainReads > 2);
    }
  });

test('reading may jump, and end while a piece is coming', async () => {
  const standIn = new StandIn((read) => (read === 3 ? 'late' : 'fine'));
  const ahead = new Ahead();
  const file = ahead.of(standIn.file());
  const slice = new Uint8Array(sliceBytes);
  for (const at of [0, 900_000, 100, 70_000, 500_000, 499_999]) {
    const count = file.read(slice, at);
    assert.deepEqual(slice.subarray(0, count), content.subarray(at, at + count));
    if (standIn.late.length === 0) await ahead.ready();
  }
  file.close();
  assert.equal(standIn.open, 0);
  for (const resolve of standIn.late) resolve();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(standIn.held, 0);
});

test('small files, and those of systems without such a way, are read as ever', async () => {
  const standIn = new StandIn();
  const plain = { ...standIn.file(), direct: () => undefined };
  const ahead = new Ahead();
  const file = ahead.of(plain);
  const slice = new Uint8Array(sliceBytes);
  for (let at = 0; at < 3 * sliceBytes; at += sliceBytes) {
    assert.equal(file.read(slice, at), sliceBytes);
    await ahead.ready();
  }
  file.close();
  assert.deepEqual([standIn.plainReads, standIn.directReads, standIn.open], [3, 0, 0]);
});

/** This machine, where a turned bit comes ahead, but not to every read: `wrong` says to which. */
function turning(wrong: (read: number) => boolean): Host {
  const machine = nodeHost({ inline: true });
  let reads = 0;
  const direct = (file: OpenFile): DirectFile => ({
    alignBytes,
    read: (position) => {
      const bytes = new Uint8Array(pieceBytes);
      const count = file.read(bytes, position);
      if (wrong(reads++)) bytes[0]! ^= 1;
      return Promise.resolve(bytes.subarray(0, count));
    },
    release: () => undefined,
    close: () => undefined,
  });
  const open = (...how: Parameters<Host['files']['open']>): OpenFile => {
    const file = machine.files.open(...how);
    return Object.assign(file, { direct: () => direct(file) });
  };
  const host: Host = {
    ...machine,
    files: { ...machine.files, open },
    threads: inlineThreads(() => host),
  };
  return host;
}

storeTest('damage that came ahead is believed after a second look, at the disk', async (folder) => {
  for (const [wrong, damaged] of [
    [(read: number) => read === 1, 0],
    [() => true, 1],
  ] as const) {
    const store = await folder.open({ host: turning(wrong) });
    const { id } = await store.put(content, { owner: 'test' });
    const found = await store.scrub();
    assert.deepEqual(
      found.damaged.map((one) => one.id),
      damaged === 0 ? [] : [id],
    );
    assert.deepEqual([found.blobs, found.complete], [1, true]);
    await store.close();
  }
});
