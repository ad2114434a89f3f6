/** The host suite's part on files: opening, reading, writing, their facts and times. */
import assert from 'node:assert/strict';
import { fails, getFile, posix, putFile, readAll } from './host-probe.ts';
import type { HostTests } from './host-under-test.ts';

const opening: HostTests = {
  'create makes a file that can be read and written; what it holds is there for the next': ({
    host,
    folder,
  }) => {
    const path = host.files.join(folder, 'new');
    const file = host.files.open(path, 'create');
    file.write(new Uint8Array([1, 2, 3]), 0);
    const back = new Uint8Array(3);
    assert.equal(file.read(back, 0), 3);
    assert.deepEqual(back, new Uint8Array([1, 2, 3]));
    file.close();
    assert.deepEqual(getFile(host, path), new Uint8Array([1, 2, 3]));
  },
  'create refuses any name that is taken': ({ host, folder }) => {
    const { files } = host;
    const path = putFile(host, files.join(folder, 'file'), 'kept');
    files.makeFolder(files.join(folder, 'folder'));
    fails('EEXIST', () => files.open(path, 'create'));
    fails('EEXIST', () => files.open(files.join(folder, 'folder'), 'create'));
    assert.deepEqual(getFile(host, path), new TextEncoder().encode('kept'));
    if (!posix(host)) return;
    files.makeLink(files.join(folder, 'dangling'), 'nowhere');
    fails('EEXIST', () => files.open(files.join(folder, 'dangling'), 'create'));
    assert.equal(files.linkFacts(files.join(folder, 'nowhere')), undefined);
  },
  'read and write need a file, and make none': ({ host, folder }) => {
    const { files } = host;
    for (const mode of ['read', 'write'] as const) {
      fails('ENOENT', () => files.open(files.join(folder, 'none'), mode));
      fails('ENOENT', () => files.open(files.join(folder, 'none', 'below'), mode));
    }
    fails('ENOENT', () => files.open(files.join(folder, 'none', 'new'), 'create'));
    assert.deepEqual(files.list(folder), []);
  },
  'a path through a file, and a folder opened for writing, are errors': ({ host, folder }) => {
    const { files } = host;
    const path = putFile(host, files.join(folder, 'file'), 'x');
    if (posix(host)) fails('ENOTDIR', () => files.open(files.join(path, 'below'), 'read'));
    files.makeFolder(files.join(folder, 'folder'));
    fails(['EISDIR', 'EPERM'], () => files.open(files.join(folder, 'folder'), 'write'));
  },
  'write keeps what is there; read refuses to write': ({ host, folder }) => {
    const path = putFile(host, host.files.join(folder, 'file'), 'content');
    const file = host.files.open(path, 'write');
    assert.equal(file.facts().size, 7);
    file.write(new TextEncoder().encode('C'), 0);
    file.close();
    const reading = host.files.open(path, 'read');
    fails(['EBADF', 'EPERM'], () => reading.write(new Uint8Array(1), 0));
    fails(['EINVAL', 'EBADF', 'EPERM'], () => reading.truncate(0));
    reading.close();
    assert.deepEqual(getFile(host, path), new TextEncoder().encode('Content'));
  },
  'permissions are those asked for': ({ host, folder }) => {
    if (!posix(host)) return;
    for (const mode of [0o600, 0o400, 0o444]) {
      const path = host.files.join(folder, mode.toString(8));
      host.files.open(path, 'create', mode).close();
      assert.equal(host.files.facts(path)?.mode, mode);
    }
  },
  'a file that may not be written can be written by the one who made it': ({ host, folder }) => {
    const file = host.files.open(host.files.join(folder, 'sealed'), 'create', 0o444);
    file.write(new Uint8Array([1]), 0);
    file.sync();
    file.close();
  },
  'a direct file gives the bytes that were written just now, up to the end; it may be closed while it reads':
    async ({ host, folder }) => {
      const content = Uint8Array.from({ length: 2_500_123 }, (_, i) => (i * 2_654_435_761) >>> 24);
      const file = host.files.open(putFile(host, host.files.join(folder, 'large'), content), 'read');
      const direct = file.direct?.();
      if (direct !== undefined) {
        for (let at = 0; at < content.length;) {
          const bytes = await direct.read(at);
          assert.ok(
            bytes.length > 0 &&
              (at + bytes.length === content.length || bytes.length % direct.alignBytes === 0),
          );
          assert.deepEqual(bytes, content.slice(at, at + bytes.length));
          at += bytes.length;
          direct.release(bytes);
        }
        const last = direct.read(0);
        direct.close();
        const bytes = await last;
        assert.deepEqual(bytes, content.slice(0, bytes.length));
        direct.release(bytes);
        direct.close();
      }
      file.close();
    },
  'a closed file is EBADF for everything; closing twice is harmless': ({ host, folder }) => {
    const file = host.files.open(host.files.join(folder, 'file'), 'create');
    file.close();
    file.close();
    fails('EBADF', () => file.read(new Uint8Array(1), 0));
    fails('EBADF', () => file.write(new Uint8Array(1), 0));
    fails('EBADF', () => file.facts());
    fails('EBADF', () => file.truncate(0));
    fails('EBADF', () => file.sync());
    fails('EBADF', () => file.setMode(0o600));
    fails('EBADF', () => file.setTimes(0n));
  },
  'closing one handle leaves others open': ({ host, folder }) => {
    const path = putFile(host, host.files.join(folder, 'file'), 'abc');
    const [first, second] = [host.files.open(path, 'read'), host.files.open(path, 'read')];
    first.close();
    assert.deepEqual(readAll(second), new TextEncoder().encode('abc'));
    second.close();
  },
};

const content: HostTests = {
  'read is short only at the end': ({ host, folder }) => {
    const file = host.files.open(putFile(host, host.files.join(folder, 'file'), '0123456789'), 'read');
    const target = new Uint8Array(4).fill(0xff);
    assert.equal(file.read(target, 3), 4);
    assert.deepEqual(target, new TextEncoder().encode('3456'));
    target.fill(0xff);
    assert.equal(file.read(target, 8), 2);
    assert.deepEqual(target.subarray(2), new Uint8Array([0xff, 0xff]));
    assert.equal(file.read(target, 10), 0);
    assert.equal(file.read(target, 1_000_000), 0);
    assert.equal(file.read(new Uint8Array(0), 0), 0);
    file.close();
  },
  'read and write touch only the part of the buffer they were given': ({ host, folder }) => {
    const file = host.files.open(host.files.join(folder, 'file'), 'create');
    const source = new Uint8Array([9, 1, 2, 9]);
    file.write(source.subarray(1, 3), 0);
    assert.equal(file.facts().size, 2);
    const target = new Uint8Array(4).fill(7);
    assert.equal(file.read(target.subarray(1, 3), 0), 2);
    assert.deepEqual(target, new Uint8Array([7, 1, 2, 7]));
    source.fill(0);
    assert.deepEqual(readAll(file), new Uint8Array([1, 2]));
    file.close();
  },
  'a gap reads as zeros, however it came about': ({ host, folder }) => {
    const file = host.files.open(host.files.join(folder, 'file'), 'create');
    file.write(new Uint8Array([1]), 9_999);
    file.truncate(20_000);
    const expected = new Uint8Array(20_000);
    expected[9_999] = 1;
    assert.deepEqual(readAll(file), expected);
    file.truncate(9_999);
    file.truncate(10_001);
    assert.deepEqual(readAll(file), new Uint8Array(10_001));
    file.close();
  },
  'a write is whole, and seen at once by every handle': ({ host, folder }) => {
    const path = host.files.join(folder, 'file');
    const writer = host.files.open(path, 'create');
    const reader = host.files.open(path, 'read');
    const bytes = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 7) ^ (i >> 9));
    writer.write(bytes, 0);
    assert.deepEqual(readAll(reader), bytes);
    writer.write(new Uint8Array(0), 5);
    assert.equal(reader.facts().size, bytes.length);
    writer.close();
    reader.close();
  },
  'a few hundred random writes and cuts leave what an array says': ({ host, folder }) => {
    const file = host.files.open(host.files.join(folder, 'file'), 'create');
    const model = new Uint8Array(40_000);
    let size = 0;
    let state = 12_345;
    const dice = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let step = 0; step < 400; step++) {
      const position = dice(30_000);
      if (dice(5) === 0) {
        file.truncate(position);
        model.fill(0, position);
        size = position;
      } else {
        const bytes = Uint8Array.from({ length: dice(9000) }, () => dice(256));
        file.write(bytes, position);
        model.set(bytes, position);
        if (bytes.length > 0) size = Math.max(size, position + bytes.length);
      }
      if (dice(10) === 0) file.sync();
      assert.equal(file.facts().size, size);
    }
    assert.deepEqual(readAll(file), model.slice(0, size));
    file.close();
  },
};

const second = 1_000_000_000n;

const facts: HostTests = {
  'facts tell kind, size, one link, and a mode of permission bits only': ({ host, folder }) => {
    const { files } = host;
    const found = files.facts(putFile(host, files.join(folder, 'file'), 'four'));
    assert.equal(found?.kind, 'file');
    assert.equal(found.size, 4);
    assert.equal(found.links, 1);
    assert.equal(found.mode & ~0o7777, 0);
    assert.equal(files.facts(folder)?.kind, 'folder');
  },
  '(dev, ino) is the identity: of one file the same by every way, of two files not': ({ host, folder }) => {
    const { files } = host;
    const [a, b] = ['a', 'b'].map((name) => putFile(host, files.join(folder, name), 'same'));
    const open = files.open(a!, 'read');
    const [byPath, byHandle, other] = [files.facts(a!)!, open.facts(), files.facts(b!)!];
    open.close();
    assert.deepEqual(byHandle, byPath);
    assert.deepEqual(files.linkFacts(a!), byPath);
    assert.notDeepEqual([byPath.dev, byPath.ino], [other.dev, other.ino]);
    files.rename(a!, files.join(folder, 'c'));
    assert.equal(files.facts(files.join(folder, 'c'))?.ino, byPath.ino);
  },
  'missing is undefined: no name, no folder, a link to nothing': ({ host, folder }) => {
    const { files } = host;
    for (const path of [files.join(folder, 'none'), files.join(folder, 'none', 'below')]) {
      assert.equal(files.facts(path), undefined);
      assert.equal(files.linkFacts(path), undefined);
    }
    if (!posix(host)) return;
    files.makeLink(files.join(folder, 'dangling'), 'nowhere');
    assert.equal(files.facts(files.join(folder, 'dangling')), undefined);
    assert.equal(files.linkFacts(files.join(folder, 'dangling'))?.kind, 'link');
  },
  'any doubt is an error: a loop of links, a name too long': ({ host, folder }) => {
    if (!posix(host)) return;
    const { files } = host;
    files.makeLink(files.join(folder, 'a'), 'b');
    files.makeLink(files.join(folder, 'b'), 'a');
    fails('ELOOP', () => files.facts(files.join(folder, 'a')));
    fails('ELOOP', () => files.linkFacts(files.join(folder, 'a', 'x')));
    fails('ELOOP', () => files.open(files.join(folder, 'a'), 'read'));
    fails('ENAMETOOLONG', () => files.facts(files.join(folder, 'n'.repeat(256))));
    fails('ENAMETOOLONG', () => files.linkFacts(files.join(folder, 'n'.repeat(256))));
    assert.equal(files.facts(files.join(folder, 'n'.repeat(255))), undefined);
  },
  'below a file there is nothing, and nobody says otherwise': ({ host, folder }) => {
    const { files } = host;
    const path = files.join(putFile(host, files.join(folder, 'file'), 'x'), 'below');
    for (const ask of [() => files.facts(path), () => files.linkFacts(path)]) {
      try {
        assert.equal(ask(), undefined);
      } catch (error) {
        fails('ENOTDIR', () => {
          throw error;
        });
      }
    }
  },
  'a removed file lives on for who has it open, with no links': ({ host, folder }) => {
    if (!posix(host)) return;
    const path = putFile(host, host.files.join(folder, 'file'), 'still here');
    const file = host.files.open(path, 'write');
    host.files.removeFile(path);
    assert.equal(host.files.facts(path), undefined);
    assert.equal(file.facts().links, 0);
    file.write(new TextEncoder().encode('S'), 0);
    assert.deepEqual(readAll(file), new TextEncoder().encode('Still here'));
    file.close();
  },
  'modes are set by path and by handle': ({ host, folder }) => {
    if (!posix(host)) return;
    const path = putFile(host, host.files.join(folder, 'file'), 'x');
    host.files.setMode(path, 0o640);
    assert.equal(host.files.facts(path)?.mode, 0o640);
    const file = host.files.open(path, 'read');
    file.setMode(0o444);
    assert.equal(file.facts().mode, 0o444);
    file.close();
    fails('ENOENT', () => host.files.setMode(host.files.join(folder, 'none'), 0o600));
  },
  'times are set by path and by handle, to the microsecond, before and after 1970': ({ host, folder }) => {
    const path = putFile(host, host.files.join(folder, 'file'), 'x');
    const file = host.files.open(path, 'write');
    for (const ns of [
      0n,
      1_700_000_000_123_456_000n,
      4_000_000_000n * second,
      -3n * second,
      1n * second + 999n,
    ]) {
      for (const set of [() => file.setTimes(ns), () => host.files.setTimes(path, ns)]) {
        host.files.setTimes(path, 7n * second);
        set();
        const off = host.files.facts(path)!.mtimeNs - ns;
        assert.ok(off > -1000n && off < 1000n, `${ns} became ${ns + off}`);
      }
    }
    file.close();
    fails('ENOENT', () => host.files.setTimes(host.files.join(folder, 'none'), 0n));
  },
  'writing moves mtime, setting the mode only ctime; times are those of the clock': async ({
    host,
    folder,
    pass,
  }) => {
    if (!posix(host)) return;
    const path = host.files.join(folder, 'file');
    const file = host.files.open(path, 'create');
    const seen = [file.facts()];
    const after = async (change: () => void): Promise<void> => {
      pass?.(30);
      if (pass === undefined) await new Promise((resolve) => setTimeout(resolve, 30));
      change();
      seen.push(file.facts());
    };
    await after(() => file.write(new Uint8Array(1), 0));
    await after(() => file.setMode(0o600));
    await after(() => file.truncate(0));
    file.close();
    const [made, written, moded, cut] = seen.map(({ mtimeNs, ctimeNs }) => ({ mtimeNs, ctimeNs }));
    assert.ok(written!.mtimeNs > made!.mtimeNs && written!.ctimeNs > made!.ctimeNs);
    assert.ok(moded!.mtimeNs === written!.mtimeNs && moded!.ctimeNs > written!.ctimeNs);
    assert.ok(cut!.mtimeNs > moded!.mtimeNs);
    const off = Number(cut!.mtimeNs / 1_000_000n) - host.clock.now();
    assert.ok(Math.abs(off) < 10_000, `the file system's clock is ${off} ms off`);
  },
};

export const fileTests: Readonly<Record<string, HostTests>> = { opening, content, facts };
