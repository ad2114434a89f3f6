/** Records beside a store: one of several who add a name has it, what a crash leaves is nobody's, and what is strange is told. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { remotesOf } from '../../src/http/remotes.ts';
import { tokensOf } from '../../src/http/tokens.ts';
import { withCode } from '../engine/store-folder.ts';

test('one of many who take a name at once has it, and nothing is left of the others', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-records-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const remotes = remotesOf(folder);
  assert.deepEqual(await remotes.list(), []);
  const adding = Array.from({ length: 8 }, (_, i) => remotes.add('backup', { address: `ssh://host/${i}` }));
  const ends = await Promise.allSettled(adding);
  const won = ends.findIndex(({ status }) => status === 'fulfilled');
  for (const end of ends) if (end.status === 'rejected') withCode('conflict')(end.reason);
  assert.deepEqual(await remotes.list(), [{ name: 'backup', address: `ssh://host/${won}` }]);
  assert.deepEqual(readdirSync(join(folder, 'remotes')), ['backup']);
  assert.deepEqual([await remotes.remove('backup'), await remotes.remove('backup')], [true, false]);
  assert.equal(await remotes.get('backup'), undefined);
});

test('names that are none, files of a crash, of a later version, or of somebody else', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-records-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const remotes = remotesOf(folder);
  for (const name of ['', '.', '..', '../x', 'a/b', '-x', 'X', 'a'.repeat(65), 'a\0'])
    await assert.rejects(remotes.add(name, { address: '/x' }), withCode('invalid-argument'), name);
  mkdirSync(join(folder, 'remotes'));
  const file = (name: string, text: string): void => writeFileSync(join(folder, 'remotes', name), text);
  file('.0123456789abcdef.new', '{"addr');
  assert.deepEqual(await remotes.list(), []);
  file('later', '{"version":2,"address":{}}');
  await assert.rejects(remotes.list(), withCode('incompatible-format'));
  for (const text of [
    '{"version":1}',
    '{"version":1,"address":7}',
    '[]',
    'null',
    '{"ver',
    'x'.repeat(70_000),
  ]) {
    file('later', text);
    await assert.rejects(remotes.get('later'), withCode('corrupt'), text.slice(0, 20));
  }
});

test('a token is one word that is told once; its record is for its owner alone', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-records-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const tokens = tokensOf(folder);
  const { token, ...info } = await tokens.create('read', 'a label');
  assert.match(token, /^holdfast_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(await tokens.list(), [info]);
  assert.equal(info.usedMs, null);
  if (process.platform !== 'win32') {
    assert.equal(statSync(join(folder, 'tokens')).mode & 0o777, 0o700);
    assert.equal(statSync(join(folder, 'tokens', info.id)).mode & 0o777, 0o600);
  }
  assert.deepEqual(await tokens.verify(token), info);
  const other = await tokens.create('admin');
  const secret = other.token.slice(-43);
  for (const wrong of ['', 'holdfast', ` ${token}`, `${token}x`, `holdfast_${info.id}_${secret}`])
    assert.equal(await tokens.verify(wrong), undefined, wrong);
  await tokens.touch(info.id);
  assert.notEqual((await tokens.verify(token))?.usedMs, null);
  assert.deepEqual([await tokens.revoke(info.id), await tokens.has(info.id)], [true, false]);
  assert.equal(await tokens.verify(token), undefined);
  await tokens.touch(info.id); // of one that is gone: nothing comes back
  assert.deepEqual(
    (await tokens.list()).map(({ id }) => id),
    [other.id],
  );
  for (const label of ['x'.repeat(101), 'two\nlines'])
    await assert.rejects(tokens.create('read', label), withCode('invalid-argument'));
  await assert.rejects(tokens.create('all' as 'admin'), withCode('invalid-argument'));
});
