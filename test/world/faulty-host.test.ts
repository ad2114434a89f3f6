/** The faulty host strikes the call it was told to, does as much of it as it was told to, and remembers every call. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemCode } from '../../engine/errors.ts';
import { memoryHost } from '../../engine/hosts/memory.ts';
import { fails, getFile, namesIn, putFile } from '../conformance/host-probe.ts';
import { type FaultyHost, faultyHost } from './faulty-host.ts';

const host = (): FaultyHost => faultyHost(memoryHost());

describe('which call fails', () => {
  test('the nth that matches, once', () => {
    const h = host();
    h.arm({ operations: ['makeFolder'], nth: 2, code: 'EIO' });
    h.files.makeFolder('/a');
    h.files.facts('/a');
    fails('EIO', () => h.files.makeFolder('/b'));
    h.files.makeFolder('/b');
    assert.equal(h.struck, 1);
    assert.deepEqual(namesIn(h, '/'), ['a', 'b']);
  });

  test('every one from it on, when it is sticky, until disarmed', () => {
    const h = host();
    h.arm({ operations: ['makeFolder'], nth: 2, lasts: 'sticky', code: 'EACCES' });
    h.files.makeFolder('/a');
    for (let i = 0; i < 3; i++) fails('EACCES', () => h.files.makeFolder('/b'));
    h.disarm();
    h.files.makeFolder('/b');
    assert.equal(h.struck, 3);
  });

  test('by path, either of two, and by file call', () => {
    const h = host();
    putFile(h, '/volume.db', 'v');
    h.arm({ path: /\.db$/g, operations: ['rename', 'file.sync'], lasts: 'sticky', code: 'EIO' });
    fails('EIO', () => h.files.rename('/volume.db', '/other'));
    fails('EIO', () => h.files.rename('/other', '/volume.db'));
    const file = h.files.open('/volume.db', 'write');
    fails('EIO', () => file.sync());
    file.close();
    putFile(h, '/plain', 'p');
    h.files.rename('/plain', '/plainer');
  });

  test('faults armed side by side each count for themselves', () => {
    const h = host();
    h.arm({ operations: ['facts'], nth: 1, code: 'EIO' });
    h.arm({ nth: 2, code: 'EMFILE' });
    fails('EIO', () => h.files.facts('/'));
    fails('EMFILE', () => h.files.facts('/'));
    h.files.facts('/');
  });

  test('the error looks like the system’s and says that it was injected', () => {
    const h = host();
    h.arm({ code: 'ENOSPC' });
    assert.throws(
      () => h.files.open('/x', 'create'),
      (error) => systemCode(error) === 'ENOSPC' && error instanceof Error && 'injected' in error,
    );
  });
});

describe('how much of it is done', () => {
  test('nothing, half of a write, or all of it', () => {
    for (const [effect, left] of [
      ['none', ''],
      ['half', '01234'],
      ['whole', '0123456789'],
    ] as const) {
      const h = host();
      h.arm({ operations: ['file.write'], effect, code: 'EIO' });
      fails('EIO', () => putFile(h, '/file', '0123456789'));
      assert.equal(new TextDecoder().decode(getFile(h, '/file')), left);
    }
  });

  test('a rename that was done and reported as failed', () => {
    const h = host();
    putFile(h, '/from', 'x');
    h.arm({ operations: ['rename'], effect: 'whole', code: 'EIO' });
    fails('EIO', () => h.files.rename('/from', '/to'));
    assert.deepEqual(namesIn(h, '/'), ['to']);
  });

  test('a failed close has closed', () => {
    const h = host();
    const file = h.files.open('/file', 'create');
    h.arm({ operations: ['file.close'], code: 'EIO' });
    fails('EIO', () => file.close());
    fails('EBADF', () => file.sync());
    file.close();
  });
});

describe('what is remembered', () => {
  test('every call in order, with its paths, place and outcome; join is none', () => {
    const h = host();
    h.files.join('/', 'a');
    putFile(h, '/a', 'abc');
    h.files.rename('/a', '/b');
    fails('ENOENT', () => h.files.removeFile('/a'));
    h.arm({ code: 'EIO' });
    fails('EIO', () => h.files.syncFolder('/'));
    assert.deepEqual(h.calls, [
      { operation: 'open', path: '/a', outcome: 'done' },
      { operation: 'file.write', path: '/a', position: 0, bytes: 3, outcome: 'done' },
      { operation: 'file.close', path: '/a', outcome: 'done' },
      { operation: 'rename', path: '/a', to: '/b', outcome: 'done' },
      { operation: 'removeFile', path: '/a', outcome: 'failed' },
      { operation: 'syncFolder', path: '/', outcome: 'injected' },
    ]);
    h.forgetCalls();
    assert.equal(h.calls.length, 0);
  });

  test('enough to fail each call of some work in turn', () => {
    const work = (h: FaultyHost): void => {
      putFile(h, '/a', 'abc');
      h.files.rename('/a', '/b');
      h.files.syncFolder('/');
    };
    const clean = host();
    work(clean);
    const failed = clean.calls.map((_, index) => {
      const h = host();
      h.arm({ nth: index + 1, code: 'EIO' });
      fails('EIO', () => work(h));
      return h.calls.at(-1)?.operation;
    });
    assert.deepEqual(
      failed,
      clean.calls.map((call) => call.operation),
    );
  });
});

test('threads are given the faulty host', async () => {
  const h = host();
  h.arm({ operations: ['facts'], code: 'EIO' });
  const source =
    'export const run = (port, { files }) => { try { files.facts("/"); } catch (e) { port.post(e.code); } }';
  const thread = await h.threads.start(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  assert.equal(await new Promise((resolve) => thread.port.listen(resolve)), 'EIO');
  await thread.stop();
});
