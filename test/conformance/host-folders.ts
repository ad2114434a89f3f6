/** The host suite's part on names: folders, links, renames, copies, paths. */
import assert from 'node:assert/strict';
import { fails, getFile, namesIn, posix, putFile } from './host-probe.ts';
import type { HostTests } from './host-under-test.ts';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const folders: HostTests = {
  'a folder is made once, under a folder that exists': ({ host, folder }) => {
    const { files } = host;
    const path = files.join(folder, 'made');
    files.makeFolder(path);
    assert.equal(files.facts(path)?.kind, 'folder');
    assert.deepEqual(files.list(path), []);
    fails('EEXIST', () => files.makeFolder(path));
    fails('EEXIST', () => files.makeFolder(putFile(host, files.join(folder, 'file'), '')));
    fails('ENOENT', () => files.makeFolder(files.join(folder, 'none', 'below')));
    if (posix(host)) fails('ENOTDIR', () => files.makeFolder(files.join(folder, 'file', 'below')));
  },
  'a folder has the permissions asked for': ({ host, folder }) => {
    if (!posix(host)) return;
    host.files.makeFolder(host.files.join(folder, 'private'), 0o700);
    assert.equal(host.files.facts(host.files.join(folder, 'private'))?.mode, 0o700);
  },
  'list gives the raw bytes of every name, once, without . and ..': ({ host, folder }) => {
    const { files } = host;
    const names = ['a', 'B', 'ü', '日本', '\u{1f980}', 'with space', '-dash', '.hidden', 'n'.repeat(255)];
    for (const name of names) putFile(host, files.join(folder, name), '');
    const listed = files.list(folder);
    assert.ok(listed.every((name) => name instanceof Uint8Array));
    assert.deepEqual(listed.map(text).sort(), [...names].sort());
    fails('ENOENT', () => files.list(files.join(folder, 'none')));
    fails('ENOTDIR', () => files.list(files.join(folder, 'a')));
  },
  'a name that is no UTF-8 is listed, and can be asked about by its bytes': ({
    host,
    folder,
    makeRawName,
  }) => {
    if (makeRawName === undefined) return;
    const name = new Uint8Array([0x66, 0xff, 0xfe, 0x80]);
    makeRawName(folder, name);
    const listed = host.files.list(folder).map((bytes) => new Uint8Array(bytes));
    assert.deepEqual(listed, [name]);
    const above = new TextEncoder().encode(`${folder}/`);
    const path = new Uint8Array(above.length + name.length);
    path.set(above);
    path.set(name, above.length);
    assert.equal(host.files.linkFacts(path)?.kind, 'file');
    path[path.length - 1] = 0x81;
    assert.equal(host.files.linkFacts(path), undefined);
    assert.equal(host.files.linkFacts(new TextEncoder().encode(folder))?.kind, 'folder');
  },
  'a list is a copy': ({ host, folder }) => {
    putFile(host, host.files.join(folder, 'file'), '');
    for (const name of host.files.list(folder)) name.fill(0);
    assert.deepEqual(namesIn(host, folder), ['file']);
  },
  'removeFile removes a name, and only of a file or link': ({ host, folder }) => {
    const { files } = host;
    files.removeFile(putFile(host, files.join(folder, 'file'), 'x'));
    assert.deepEqual(files.list(folder), []);
    fails('ENOENT', () => files.removeFile(files.join(folder, 'file')));
    files.makeFolder(files.join(folder, 'sub'));
    fails(['EISDIR', 'EPERM'], () => files.removeFile(files.join(folder, 'sub')));
    assert.deepEqual(namesIn(host, folder), ['sub']);
  },
  'removeFolder removes an empty folder': ({ host, folder }) => {
    const { files } = host;
    const sub = files.join(folder, 'sub');
    files.makeFolder(sub);
    const path = putFile(host, files.join(sub, 'file'), 'x');
    fails('ENOTEMPTY', () => files.removeFolder(sub));
    if (posix(host)) fails('ENOTDIR', () => files.removeFolder(path));
    files.removeFile(path);
    files.removeFolder(sub);
    assert.equal(files.facts(sub), undefined);
    fails('ENOENT', () => files.removeFolder(sub));
  },
  'syncFolder and sync of what is there succeed; of what is not, fail': ({ host, folder }) => {
    const { files } = host;
    const file = files.open(files.join(folder, 'file'), 'create');
    file.sync();
    file.close();
    files.syncFolder(folder);
    if (posix(host)) fails('ENOENT', () => files.syncFolder(files.join(folder, 'none')));
  },
};

const renames: HostTests = {
  'a file moves with its content and identity, also to another folder': ({ host, folder }) => {
    const { files } = host;
    const from = putFile(host, files.join(folder, 'from'), 'moved');
    const before = files.facts(from)!;
    files.makeFolder(files.join(folder, 'sub'));
    const to = files.join(folder, 'sub', 'to');
    files.rename(from, to);
    assert.equal(files.facts(from), undefined);
    assert.equal(text(getFile(host, to)), 'moved');
    assert.deepEqual([files.facts(to)?.ino, files.facts(to)?.mtimeNs], [before.ino, before.mtimeNs]);
    assert.deepEqual(namesIn(host, folder), ['sub']);
  },
  'an open file follows its name': ({ host, folder }) => {
    if (!posix(host)) return;
    const { files } = host;
    const from = putFile(host, files.join(folder, 'from'), 'a');
    const file = files.open(from, 'write');
    files.rename(from, files.join(folder, 'to'));
    file.write(new TextEncoder().encode('b'), 1);
    file.close();
    assert.equal(text(getFile(host, files.join(folder, 'to'))), 'ab');
  },
  'a folder moves with all it holds, but not into itself': ({ host, folder }) => {
    const { files } = host;
    files.makeFolder(files.join(folder, 'a'));
    files.makeFolder(files.join(folder, 'a', 'b'));
    putFile(host, files.join(folder, 'a', 'b', 'file'), 'deep');
    files.rename(files.join(folder, 'a'), files.join(folder, 'c'));
    assert.equal(text(getFile(host, files.join(folder, 'c', 'b', 'file'))), 'deep');
    assert.equal(files.facts(files.join(folder, 'a')), undefined);
    if (posix(host))
      fails('EINVAL', () => files.rename(files.join(folder, 'c'), files.join(folder, 'c', 'd')));
    files.rename(files.join(folder, 'c', 'b'), files.join(folder, 'b'));
    assert.deepEqual(namesIn(host, folder), ['b', 'c']);
    assert.equal(files.realPath(files.join(folder, 'b', '..')), folder);
  },
  'nothing to move, or nowhere to move it, is an error that changes nothing': ({ host, folder }) => {
    const { files } = host;
    const path = putFile(host, files.join(folder, 'file'), 'x');
    fails('ENOENT', () => files.rename(files.join(folder, 'none'), files.join(folder, 'to')));
    fails('ENOENT', () => files.rename(path, files.join(folder, 'none', 'to')));
    files.makeFolder(files.join(folder, 'full'));
    putFile(host, files.join(folder, 'full', 'x'), '');
    fails(['EISDIR', 'EPERM', 'ENOTEMPTY'], () => files.rename(path, files.join(folder, 'full')));
    assert.deepEqual(namesIn(host, folder), ['file', 'full']);
  },
};

const links: HostTests = {
  'a link is followed by all but linkFacts, readLink, removeFile and rename': ({ host, folder }) => {
    if (!posix(host)) return;
    const { files } = host;
    const [target, link] = [putFile(host, files.join(folder, 'target'), 'there'), files.join(folder, 'link')];
    files.makeLink(link, 'target');
    assert.equal(files.facts(link)?.ino, files.facts(target)?.ino);
    assert.equal(files.linkFacts(link)?.kind, 'link');
    assert.equal(text(getFile(host, link)), 'there');
    files.setMode(link, 0o600);
    assert.equal(files.facts(target)?.mode, 0o600);
    files.rename(link, files.join(folder, 'moved'));
    assert.equal(text(files.readLink(files.join(folder, 'moved'))), 'target');
    files.removeFile(files.join(folder, 'moved'));
    assert.deepEqual(namesIn(host, folder), ['target']);
  },
  'the times set by path are those of a link itself': ({ host, folder }) => {
    if (!posix(host)) return;
    const { files } = host;
    const target = putFile(host, files.join(folder, 'target'), 'x');
    const before = files.facts(target)!.mtimeNs;
    files.makeLink(files.join(folder, 'link'), 'target');
    files.setTimes(files.join(folder, 'link'), 5_000_000_000n);
    assert.equal(files.linkFacts(files.join(folder, 'link'))?.mtimeNs, 5_000_000_000n);
    assert.equal(files.facts(target)?.mtimeNs, before);
  },
  'readLink gives the raw target, whatever it names': ({ host, folder }) => {
    if (!posix(host)) return;
    const { files } = host;
    for (const target of ['nowhere', '/absolute/./odd/../path', 'ümlaut', '..']) {
      const link = files.join(folder, 'link');
      files.makeLink(link, target);
      assert.equal(text(files.readLink(link)), target);
      assert.equal(files.linkFacts(link)?.size, new TextEncoder().encode(target).length);
      fails('EEXIST', () => files.makeLink(link, 'other'));
      files.removeFile(link);
    }
    fails('EINVAL', () => files.readLink(putFile(host, files.join(folder, 'file'), '')));
    fails('ENOENT', () => files.readLink(files.join(folder, 'none')));
  },
  'links in the middle of a path are followed, also relative ones and chains': ({ host, folder }) => {
    if (!posix(host)) return;
    const { files } = host;
    files.makeFolder(files.join(folder, 'a'));
    files.makeFolder(files.join(folder, 'a', 'b'));
    putFile(host, files.join(folder, 'a', 'b', 'file'), 'found');
    files.makeLink(files.join(folder, 'a', 'up'), '../a/b');
    files.makeLink(files.join(folder, 'chain'), files.join(folder, 'a', 'up'));
    assert.equal(text(getFile(host, files.join(folder, 'chain', 'file'))), 'found');
    putFile(host, files.join(folder, 'chain', 'new'), '');
    assert.deepEqual(namesIn(host, files.join(folder, 'a', 'b')), ['file', 'new']);
    assert.equal(files.realPath(files.join(folder, 'chain', 'file')), files.join(folder, 'a', 'b', 'file'));
    assert.equal(files.realPath(`${folder}/chain/..`), files.join(folder, 'a'));
    fails('ENOTDIR', () => files.removeFolder(files.join(folder, 'chain')));
  },
};

const paths: HostTests = {
  'realPath needs something that exists': ({ host, folder }) => {
    assert.equal(host.files.realPath(folder), folder);
    assert.equal(host.files.realPath(host.files.join(folder, '.', 'x', '..')), folder);
    fails('ENOENT', () => host.files.realPath(host.files.join(folder, 'none')));
  },
  'join takes parts apart and puts them together': ({ host, folder }) => {
    const join = (...parts: readonly string[]): string => host.files.join(...parts);
    assert.equal(join(folder), folder);
    assert.equal(join(folder, 'a', '..', 'b', '.', 'c'), join(folder, 'b', 'c'));
    assert.equal(join(folder, 'a', '..'), folder);
    assert.equal(join(folder, '', 'a'), join(folder, 'a'));
    assert.notEqual(join(folder, 'a', 'b'), join(folder, 'a b'));
    if (posix(host)) assert.equal(join('/', 'a/', '/b', '..', '..', '..', 'c'), '/c');
  },
  'space tells free bytes and the type of file system': ({ host, folder }) => {
    const { freeBytes, type } = host.files.space(folder);
    assert.ok(Number.isFinite(freeBytes) && freeBytes > 0);
    assert.ok(Number.isInteger(type));
    fails('ENOENT', () => host.files.space(host.files.join(folder, 'none')));
  },
};

const copies: HostTests = {
  'clone copies the content to a file of its own, or makes nothing': ({ host, folder }) => {
    const { files } = host;
    const content = Uint8Array.from({ length: 20_000 }, (_, i) => i % 251);
    const [from, to] = [putFile(host, files.join(folder, 'from'), content), files.join(folder, 'to')];
    if (!files.clone(from, to)) return assert.deepEqual(namesIn(host, folder), ['from']);
    assert.deepEqual(getFile(host, to), content);
    assert.notEqual(files.facts(to)?.ino, files.facts(from)?.ino);
    const file = files.open(to, 'write');
    file.write(new Uint8Array([0xff]), 0);
    file.close();
    assert.deepEqual(getFile(host, from), content);
  },
  'clone never writes over a file, and needs one to copy': ({ host, folder }) => {
    const { files } = host;
    const [a, b] = [putFile(host, files.join(folder, 'a'), 'a'), putFile(host, files.join(folder, 'b'), 'b')];
    fails('EEXIST', () => files.clone(a, b));
    assert.equal(text(getFile(host, b)), 'b');
    fails('ENOENT', () => files.clone(files.join(folder, 'none'), files.join(folder, 'c')));
    fails('ENOENT', () => files.clone(a, files.join(folder, 'none', 'c')));
    assert.deepEqual(namesIn(host, folder), ['a', 'b']);
  },
};

export const folderTests: Readonly<Record<string, HostTests>> = { folders, renames, links, paths, copies };
