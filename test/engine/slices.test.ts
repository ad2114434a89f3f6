/** A large file on its way in: what a neighbour reads and hashes, what is written while the next pieces are made, and what becomes of errors. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Digester } from '../../engine/content/digest.ts';
import { DigestLink, DigestService } from '../../engine/content/digest-link.ts';
import { slicesOf } from '../../engine/content/slices.ts';
import { WriteBehind } from '../../engine/content/write-behind.ts';
import type { Host, OpenFile } from '../../engine/host.ts';
import { nodeHost } from '../../engine/hosts/node.ts';
import { nodeProvider } from '../../engine/providers/node.ts';
import { noise, sha256, storeTest, withCode } from './store-folder.ts';

const sizes = { sliceBytes: 4096, chunkBytes: 0 };

function scratch(t: TestContext): string {
  const folder = fs.mkdtempSync(join(tmpdir(), 'holdfast-slices-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

/** A neighbour of this thread; `opened` are the files it holds open. */
function neighbour(host: Host): { link: DigestLink; opened: Set<OpenFile> } {
  const opened = new Set<OpenFile>();
  const files: Host['files'] = {
    ...host.files,
    open(path, mode) {
      const file = host.files.open(path, mode);
      opened.add(file);
      const close = file.close.bind(file);
      file.close = () => {
        opened.delete(file);
        close();
      };
      return file;
    },
  };
  const handlers = new DigestService({ ...host, files }, nodeProvider).handlers();
  const call = async (method: string, args: unknown): Promise<unknown> => handlers[method]!(args as never);
  return { link: new DigestLink({ call: call as never }), opened };
}

function fileOf(t: TestContext, bytes: Uint8Array): { path: string; host: Host; file: OpenFile } {
  const path = join(scratch(t), 'source');
  fs.writeFileSync(path, bytes);
  const host = nodeHost({ inline: true });
  const file = host.files.open(path, 'read');
  t.after(() => file.close());
  return { path, host, file };
}

for (const framed of [false, true])
  for (const linked of [false, true])
    test(`every byte comes once and in order, and is hashed: framed ${framed}, a neighbour ${linked}`, async (t) => {
      for (const size of [0, 1, 4096, 4097, 50_001]) {
        const content = noise(size, 3);
        const { path, host, file } = fileOf(t, content);
        const { link, opened } = neighbour(host);
        const own = new Digester(nodeProvider, 0);
        const facts = file.facts();
        const parts = { path, facts, framed, link: linked ? link : undefined, own, sizes };
        const slices = await slicesOf(file, parts);
        const came: Uint8Array[] = [];
        for (let bytes; (bytes = await slices.next()).length > 0; slices.hash()) came.push(bytes.slice());
        const digest = await slices.finish();
        assert.deepEqual(Buffer.concat(came), Buffer.from(content));
        assert.equal(Buffer.from(digest.id).toString('hex'), sha256(content));
        assert.equal(digest.size, size);
        assert.equal(opened.size, 0, 'the neighbour has closed it');
      }
    });

test('another file under the path is not read for the one that is open, and none stays open', async (t) => {
  const { path, host, file } = fileOf(t, noise(9000, 1));
  const facts = file.facts();
  const { link, opened } = neighbour(host);
  const own = new Digester(nodeProvider, 0);
  fs.renameSync(path, `${path}.old`);
  const parts = { path, facts, framed: true, link, own, sizes };
  await assert.rejects(slicesOf(file, parts), withCode('not-found'));
  fs.writeFileSync(path, noise(9000, 2));
  await assert.rejects(slicesOf(file, parts), withCode('source-changed'));
  assert.equal(opened.size, 0);
});

test('behind the end that the asker was told of nothing is hashed: what is stored is what is hashed', async (t) => {
  const content = noise(4096, 1);
  const { path, host, file } = fileOf(t, content);
  const { link, opened } = neighbour(host);
  const own = new Digester(nodeProvider, 0);
  const slices = await slicesOf(file, { path, facts: file.facts(), framed: true, link, own, sizes });
  const came: Uint8Array[] = [];
  for (let bytes; (bytes = await slices.next()).length > 0;) came.push(bytes.slice());
  // It grows before a slot is filled that was asked for beforehand.
  for (const one of opened)
    one.read = (target) => {
      target.fill(7);
      return target.length;
    };
  await slices.next();
  assert.deepEqual(Buffer.concat(came), Buffer.from(content));
  assert.equal(Buffer.from((await slices.finish()).id).toString('hex'), sha256(content));
});

test('what the neighbour cannot read is told, and given up it closes the file', async (t) => {
  const { path, host, file } = fileOf(t, noise(50_000, 1));
  const { link, opened } = neighbour(host);
  const own = new Digester(nodeProvider, 0);
  const slices = await slicesOf(file, { path, facts: file.facts(), framed: true, link, own, sizes });
  for (const one of opened)
    one.read = () => {
      throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
    };
  await assert.rejects(async () => {
    while ((await slices.next()).length > 0);
  }, /EIO/);
  slices.abandon();
  await new Promise(setImmediate);
  assert.equal(opened.size, 0);
});

test('writes stay in order, at most one is under way after each step, and memory that was given goes back', async () => {
  const written: Uint8Array[] = [];
  let underWay = 0;
  let most = 0;
  const out = new WriteBehind(async (pieces) => {
    most = Math.max(most, ++underWay);
    await new Promise(setImmediate);
    written.push(...pieces.map((piece) => piece.slice()));
    underWay--;
  });
  const content = noise(5_000_000, 9);
  const given: Uint8Array[] = [];
  for (let at = 0, step = 0; at < content.length; step++) {
    const part = content.slice(at, at + (step % 3 === 0 ? 70_000 : 1000));
    at += part.length;
    if (step % 2 === 0) {
      out.write(part);
      part.fill(0); // its memory is used again
    } else {
      given.push(part);
      out.give(part);
    }
    await out.settle();
    assert.ok(underWay <= 1);
  }
  await out.finish();
  assert.equal(underWay, 0);
  assert.ok(most >= 1);
  assert.deepEqual(Buffer.concat(written), Buffer.from(content));
  assert.ok(given.some(({ length }) => length === 0));
  assert.ok(given.every(({ length }) => length <= 1000));
});

test('memory for copies is not given back while the rest of it is in use', async () => {
  for (const short of [1, 36, 64]) {
    const written: Uint8Array[] = [];
    const out = new WriteBehind(async (pieces) => void written.push(...pieces.map((piece) => piece.slice())));
    const content = noise(1024 * 1024 + 3 * 65_536, short);
    // What ends the first write leaves a few bytes of its memory for the second.
    const cuts = [1024 * 1024, 1024 * 1024 + 65_536 - short, 1024 * 1024 + 2 * 65_536, content.length];
    out.give(content.slice(0, cuts[0]! - 65_536));
    out.write(content.subarray(cuts[0]! - 65_536, cuts[0]! - short));
    out.give(content.slice(cuts[0]! - short, cuts[0]));
    for (const [i, cut] of cuts.slice(1).entries()) {
      out.write(content.subarray(cuts[i], cut));
      await out.settle();
      await new Promise(setImmediate);
    }
    await out.finish();
    assert.equal(Buffer.compare(Buffer.concat(written), content), 0, `${short} bytes are left`);
  }
});

test('a write that fails is told by the next step or by the end, never lost', async () => {
  for (const failing of [0, 1, 2]) {
    let calls = 0;
    const out = new WriteBehind(async () => {
      if (calls++ === failing) throw new Error('no disk');
    });
    await assert.rejects(async () => {
      for (let i = 0; i < 3; i++) {
        out.write(new Uint8Array(1024 * 1024));
        await out.settle();
      }
      await out.finish();
    }, /no disk/);
  }
});

test('a file closed while it is written is closed when the write is over', async (t) => {
  const path = join(scratch(t), 'file');
  const file = nodeHost({ inline: true }).files.open(path, 'create');
  const pieces = Array.from({ length: 3000 }, (_, i) => noise(1 + (i % 700), i));
  const writing = file.writeLater!(pieces, 5);
  file.close();
  await writing;
  assert.deepEqual(fs.readFileSync(path).subarray(5), Buffer.concat(pieces));
  await assert.rejects(file.writeLater!(pieces, 0), { code: 'EBADF' });
});

storeTest(
  'sealed content that fills pages of its frame comes back, by way of both threads',
  async (folder) => {
    const secret = { kind: 'raw-key' as const, key: new Uint8Array(32).fill(7) };
    const store = await folder.open({ encryption: { secret } });
    // A page holds 1,024 chunks.
    const content = noise(2 * 1024 * 4096 + 12_345, 11);
    const path = folder.file('paged', content);
    const { id } = await store.put({ path });
    assert.equal(id, sha256(content));
    assert.equal(sha256((await store.get(id))!), id);
    assert.deepEqual((await store.scrub()).damaged, []);
  },
);
