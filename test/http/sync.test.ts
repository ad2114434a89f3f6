/** Stores replicated over HTTP(S): who is let in, what his token allows, when he is put out, and what a client takes for a store. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Store, StoreError, nodeHost } from '../../engine/index.ts';
import { type HttpOptions, httpTransport } from '../../src/http/client.ts';
import { type SyncHandlerOptions, type SyncSession, syncHandler } from '../../src/http/handler.ts';
import { type ListenOptions, type Listening, listenHttp } from '../../src/http/listen.ts';
import { tokensOf } from '../../src/http/tokens.ts';
import { type Transport, pull, push } from '../../sync/index.ts';
import { noise, text, withCode } from '../engine/store-folder.ts';
import { makeCertificate } from '../sync/certificate.ts';
import { type Two, assertSame, openBoth, setTree, twoStores } from '../sync/stores.ts';
import { faultyHost } from '../world/faulty-host.ts';

const certificate = makeCertificate();

interface Served extends Listening {
  readonly sessions: SyncSession[];
}

/** Serves a store for the length of some work. */
async function serving(
  store: Store,
  how: SyncHandlerOptions & { readonly listen?: Partial<ListenOptions> },
  work: (served: Served) => Promise<void>,
): Promise<void> {
  const sessions: SyncSession[] = [];
  const handler = syncHandler(store, { onSession: (session) => sessions.push(session), ...how });
  const listening = await listenHttp(handler, { port: 0, ...how.listen });
  try {
    await work({ ...listening, sessions });
  } finally {
    await listening.close();
  }
}

async function twoTrees({ a, b }: Two): Promise<{ readonly source: Store; readonly replica: Store }> {
  const stores = await openBoth({ a, b });
  await setTree(
    stores.source,
    'main',
    new Map([
      ['a', text('one')],
      ['b', noise(40_000)],
    ]),
  );
  return stores;
}

twoStores('a token allows what its scope says, and nothing comes in without one', async (two) => {
  const { source, replica } = await twoTrees(two);
  const tokens = tokensOf(source.directory);
  const read = await tokens.create('read', 'a reader');
  const append = await tokens.create('append');
  const admin = await tokens.create('admin');
  await serving(source, {}, async ({ url, sessions }) => {
    const by = (token?: string): Promise<Transport> =>
      httpTransport(url, token === undefined ? {} : { token });
    for (const wrong of [
      undefined,
      'x',
      `${read.token.slice(0, -43)}${'A'.repeat(43)}`,
      read.token.replace(read.id, append.id),
    ])
      await assert.rejects(by(wrong), withCode('forbidden'), String(wrong));
    assert.deepEqual(sessions, [], 'nobody was let in');

    await pull(replica, await by(read.token));
    await assertSame(source, replica, ['main']);
    await setTree(replica, 'new', new Map([['c', text('of the replica')]]));
    await assert.rejects(push(replica, await by(read.token), { roots: ['new'] }), withCode('forbidden'));

    await assert.rejects(pull(replica, await by(append.token)), withCode('forbidden'));
    await push(replica, await by(append.token), { roots: ['new'] });
    await assertSame(replica, source, ['new']);
    assert.equal(
      (await push(replica, await by(append.token))).roots.length,
      2,
      'what is the same may be offered',
    );
    const before = await source.roots.get('new');
    await setTree(replica, 'new', new Map([['c', text('moved')]]));
    await assert.rejects(push(replica, await by(append.token), { roots: ['new'] }), withCode('forbidden'));
    assert.equal(await source.roots.get('new'), before);

    // Nor does a wrong guess tell what a root is.
    await assert.rejects(
      push(replica, await by(append.token), { roots: ['new'], expect: { new: null } }),
      (error) => StoreError.is(error, 'forbidden') && !error.message.includes(before!),
    );

    await push(replica, await by(admin.token), { roots: ['new'] });
    await assertSame(replica, source, ['new']);
    assert.deepEqual(
      sessions.map(({ token, scope, error }) => [token, scope, (error as StoreError | undefined)?.code]),
      [
        [read.id, 'read', undefined],
        [read.id, 'read', 'forbidden'],
        [append.id, 'append', 'forbidden'],
        [append.id, 'append', undefined],
        [append.id, 'append', undefined],
        [append.id, 'append', 'forbidden'],
        [append.id, 'append', 'forbidden'],
        [admin.id, 'admin', undefined],
      ],
    );
  });
  const told = await tokens.list();
  assert.ok(told.every(({ usedMs }) => usedMs !== null && Math.abs(usedMs - Date.now()) < 60_000));
  // At rest there are hashes, and what people may read.
  for (const name of readdirSync(join(source.directory, 'tokens'))) {
    const record = readFileSync(join(source.directory, 'tokens', name), 'utf8');
    for (const { token } of [read, append, admin]) assert.ok(!record.includes(token.slice(-43)));
  }
});

twoStores(
  'a stranger touches nothing of the store, and a token that cannot be read lets nobody in',
  async (two) => {
    const { source } = await twoTrees(two);
    const { id, token } = await tokensOf(source.directory).create('admin');
    const untouched = new Proxy({ directory: source.directory } as Store, {
      get: (target, name) => {
        if (name !== 'directory') throw new Error(`a stranger made us ask the store for ${String(name)}`);
        return target.directory;
      },
    });
    await serving(untouched, {}, async ({ url, sessions }) => {
      await assert.rejects(httpTransport(url), withCode('forbidden'));
      await assert.rejects(
        httpTransport(url, { token: `holdfast_${id}_${'A'.repeat(43)}` }),
        withCode('forbidden'),
      );
      await assert.rejects(
        httpTransport(url, { token: `holdfast_../../x_${'A'.repeat(43)}` }),
        withCode('forbidden'),
      );
      const answer = await fetch(url);
      assert.deepEqual([answer.status, answer.headers.get('upgrade')], [426, 'holdfast/1']);
      writeFileSync(join(source.directory, 'tokens', id), '{"version":1,"scope":"adm');
      await assert.rejects(httpTransport(url, { token }), withCode('unavailable'));
      await assert.rejects(tokensOf(source.directory).list(), withCode('corrupt'));
      assert.equal(await tokensOf(source.directory).revoke(id), true);
      await assert.rejects(httpTransport(url, { token }), withCode('forbidden'));
      assert.deepEqual(sessions, []);
    });
  },
);

twoStores(
  'a token that is revoked half way ends the session with forbidden, and no root has moved',
  async (two) => {
    const { source, replica } = await openBoth(two);
    await setTree(source, 'main', new Map([['large', noise(12_000_000)]]));
    const tokens = tokensOf(source.directory);
    const { id, token } = await tokens.create('read');
    await serving(source, {}, async ({ url, sessions }) => {
      const inner = await httpTransport(url, { token });
      let received = 0;
      const revoking: Transport = {
        send: (bytes) => inner.send(bytes),
        close: (reason) => inner.close(reason),
        async receive() {
          const bytes = await inner.receive();
          const before = received;
          received += bytes?.length ?? 0;
          if (before < 3_000_000 && received >= 3_000_000) {
            await tokens.revoke(id);
            await pause(300); // the server looks every quarter of a second
          }
          return bytes;
        },
      };
      await assert.rejects(pull(replica, revoking), withCode('forbidden'));
      assert.equal(await replica.roots.get('main'), undefined);
      assert.equal((sessions[0]!.error as StoreError).code, 'forbidden');
      await assert.rejects(httpTransport(url, { token }), withCode('forbidden'));
    });
  },
);

twoStores('a token that is revoked after the last byte came moves no root either', async (two) => {
  const { source, replica } = await twoTrees(two);
  let stands = true;
  const tokens = { ...tokensOf(source.directory), has: async () => stands };
  const { token } = await tokens.create('append');
  await setTree(replica, 'new', new Map([['c', text('of the replica')]]));
  // A slow disk: all has come, and is on its way in, when the token goes.
  const slow = new Proxy(source, {
    get(store, name) {
      const value: unknown = Reflect.get(store, name, store);
      if (typeof value !== 'function') return value;
      if (name !== 'put') return (value as () => unknown).bind(store);
      return async (...args: Parameters<Store['put']>): ReturnType<Store['put']> => {
        stands = false;
        await pause(600);
        return await store.put(...args);
      };
    },
  });
  await serving(slow, { tokens }, async ({ url, sessions }) => {
    await assert.rejects(
      push(replica, await httpTransport(url, { token }), { roots: ['new'] }),
      withCode('forbidden'),
    );
    assert.equal(await source.roots.get('new'), undefined);
    assert.equal((sessions[0]!.error as StoreError).code, 'forbidden');
  });
});

twoStores('connections that cannot be taken do not end the server', async (two) => {
  const { source, replica } = await twoTrees(two);
  await serving(source, { anonymous: async () => 'read' }, async ({ url, server }) => {
    // What Node says when the process has no descriptors left.
    for (let i = 0; i < 3; i++) server.emit('error', new Error('accept EMFILE'));
    await pull(replica, await httpTransport(url));
    await assertSame(source, replica, ['main']);
  });
});

twoStores(
  'anonymous peers are let in where that is said, until it is not; sessions are counted; a close ends them',
  async (two) => {
    const { source, replica } = await twoTrees(two);
    let open = true;
    const anonymous = async (): Promise<'read' | undefined> => (open ? 'read' : undefined);
    await serving(source, { anonymous, sessionsMax: 1 }, async ({ url, close }) => {
      const first = await httpTransport(url);
      await assert.rejects(httpTransport(url), withCode('busy'));
      await pull(replica, first);
      await assertSame(source, replica, ['main']);
      open = false;
      await pause(0);
      await assert.rejects(httpTransport(url), withCode('forbidden'));
      open = true;
      const idle = await httpTransport(url);
      await idle.receive(); // its hello
      await close();
      await assert.rejects(async () => {
        while ((await idle.receive()) !== undefined);
        throw new StoreError('unavailable', 'a clean end would do as well');
      }, withCode('unavailable'));
      await idle.close();
      await assert.rejects(httpTransport(url), withCode('unavailable'));
    });
  },
);

twoStores('who was let in and says nothing is put out', async (two) => {
  const { source } = await twoTrees(two);
  const anonymous = (): Promise<'read'> => Promise.resolve('read');
  await serving(source, { anonymous, handshakeMs: 50 }, async ({ url }) => {
    const silent = await httpTransport(url);
    await assert.rejects(async () => {
      while ((await silent.receive()) !== undefined);
      throw new StoreError('unavailable', 'an end of the system looks like a clean one');
    }, withCode('unavailable'));
    await silent.close();
  });
});

twoStores('TLS: only a certificate that is trusted, is of that name, and has not ended', async (two) => {
  const { source, replica } = await twoTrees(two);
  const { token } = await tokensOf(source.directory).create('admin');
  await serving(source, { listen: { tls: certificate } }, async ({ url }) => {
    const ca = certificate.cert;
    await assert.rejects(httpTransport(url, { token }), withCode('forbidden'));
    await assert.rejects(httpTransport(url, { token, ca: makeCertificate().cert }), withCode('forbidden'));
    await assert.rejects(
      httpTransport(url.replace('127.0.0.1', '127.0.0.2'), { token, ca }),
      withCode('unavailable'),
    );
    await assert.rejects(httpTransport(url.replace('https', 'http'), { token }), withCode('unavailable'));
    await pull(replica, await httpTransport(url, { token, ca }));
    await pull(replica, await httpTransport(url.replace('127.0.0.1', 'localhost'), { token, ca }));
    await assertSame(source, replica, ['main']);
  });
  const expired = makeCertificate('expired');
  await serving(source, { listen: { tls: expired } }, async ({ url }) => {
    await assert.rejects(httpTransport(url, { token, ca: expired.cert }), withCode('forbidden'));
  });
  await serving(source, { listen: { tls: certificate, host: '127.0.0.3' } }, async ({ url }) => {
    await assert.rejects(httpTransport(url, { token, ca: certificate.cert }), withCode('forbidden'));
  });
  const handler = syncHandler(source);
  const wrong = { cert: 'no certificate', key: certificate.key };
  await assert.rejects(listenHttp(handler, { port: 0, tls: wrong }), withCode('invalid-argument'));
});

/** Something that listens and is no store. */
async function other(
  server: Server | ReturnType<typeof createTcpServer>,
  work: (url: string) => Promise<void>,
): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

test('what is no store is told as that, and a token goes nowhere in the clear', async () => {
  const cases: readonly [string, string, (url: string) => [string, HttpOptions?]][] = [
    ['another web server', 'not-a-store', (url) => [url]],
    ['a protocol of its own', 'unavailable', (url) => [url.replace('http', 'https')]],
  ];
  await other(
    createServer((_request, response) => response.end('\u001b[31mhello')),
    async (url) => {
      for (const [what, code, of] of cases)
        await assert.rejects(httpTransport(...of(url)), withCode(code), what);
    },
  );
  await other(
    createServer().on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'),
    ),
    (url) => assert.rejects(httpTransport(url), withCode('not-a-store')),
  );
  await other(
    createServer((_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()),
    (url) => assert.rejects(httpTransport(url), withCode('not-a-store')),
  );
  const silent = createTcpServer((socket) => socket.on('error', () => undefined).resume());
  await other(silent, (url) =>
    assert.rejects(httpTransport(url, { connectMs: 50 }), withCode('unavailable')),
  );
  await other(
    createTcpServer((socket) =>
      socket.on('error', () => undefined).end(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`),
    ),
    (url) => assert.rejects(httpTransport(url), withCode('unavailable')),
  );
  const abort = AbortSignal.abort(new StoreError('closed', 'stopped'));
  await assert.rejects(httpTransport('http://127.0.0.1:1', { signal: abort }), withCode('closed'));
  await assert.rejects(httpTransport('http://127.0.0.1:1'), withCode('unavailable'));
  await assert.rejects(httpTransport('http://192.0.2.1', { token: 'x' }), withCode('forbidden'));
  for (const wrong of ['ftp://x', 'http:/x', 'http://u:p@x/', 'http://x/?a', 'http://x/#a', 'x'])
    await assert.rejects(httpTransport(wrong), withCode('invalid-argument'), wrong);
});

twoStores('a server bounds what a stranger may send before he is let in', async (two) => {
  const { source } = await twoTrees(two);
  await serving(source, { listen: { connectionsMax: 1 } }, async ({ url, sessions }) => {
    const { port } = new URL(url);
    const said = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(Number(port), '127.0.0.1');
      socket.setEncoding('utf8').on('data', (more: string) => (text += more));
      socket.on('error', reject).on('close', () => resolve(text));
      socket.write(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(9000)}\r\n\r\n`);
    });
    assert.match(said, /^HTTP\/1.1 431 /);
    const first = connect(Number(port), '127.0.0.1');
    await new Promise((resolve) => first.once('connect', resolve));
    await assert.rejects(httpTransport(url), withCode('unavailable'), 'one connection at a time');
    first.destroy();
    assert.deepEqual(sessions, []);
  });
});

twoStores('a root that moved meanwhile is a conflict, and one that moves nothing tells so', async (two) => {
  const { source, replica } = await twoTrees(two);
  const { token } = await tokensOf(source.directory).create('admin');
  await serving(source, {}, async ({ url }) => {
    await pull(replica, await httpTransport(url, { token }));
    const known = (await replica.roots.get('main'))!;
    await setTree(replica, 'main', new Map([['a', text('mine')]]));
    const moved = await setTree(source, 'main', new Map([['a', text('theirs')]]));
    const pushing = push(replica, await httpTransport(url, { token }), { expect: { main: known } });
    await assert.rejects(pushing, withCode('conflict'));
    assert.equal(await source.roots.get('main'), moved);
  });
});

twoStores('a receiver whose disk is full says no-space, and goes on when there is room', async ({ a, b }) => {
  const source = await a.open({ durability: 'relaxed' });
  const host = faultyHost(nodeHost({ inline: true }));
  const replica = await b.open({ durability: 'relaxed', host });
  await setTree(
    source,
    'main',
    new Map([
      ['a', text('small')],
      ['large', noise(3_000_000)],
    ]),
  );
  const { token } = await tokensOf(replica.directory).create('append');
  await serving(replica, {}, async ({ url }) => {
    host.arm({ operations: ['file.write'], path: '/tmp/', code: 'ENOSPC', lasts: 'sticky' });
    await assert.rejects(push(source, await httpTransport(url, { token })), {
      code: 'no-space',
      message: 'the peer says: the disk or the quota on its side is full', // and no path
    });
    assert.equal(await replica.roots.get('main'), undefined);
    host.disarm();
    const { blobs } = await push(source, await httpTransport(url, { token }));
    assert.ok(blobs <= 3, 'what came before did not come again');
    await assertSame(source, replica, ['main']);
  });
});
