/** Calls over a port: results, errors with their codes, cancellation, progress, and what happens when the other end dies. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { type ErrorFacts, StoreError, systemCode } from '../../engine/errors.ts';
import type { Port } from '../../engine/host.ts';
import { type CallContext, type Handler, Moved, Remote, serve } from '../../engine/rpc.ts';

interface Pair {
  readonly remote: Remote;
  /** How many holds are out; never below zero. */
  readonly busy: () => number;
  readonly close: () => void;
}

function portOf(end: MessageChannel['port1']): Port {
  return {
    post: (message, transfer = []) => end.postMessage(message, transfer as ArrayBuffer[]),
    listen: (handler) => void end.on('message', handler),
    close: () => end.close(),
  };
}

function pair(handlers: Readonly<Record<string, Handler>>): Pair {
  const { port1, port2 } = new MessageChannel();
  serve(portOf(port2), handlers);
  let held = 0;
  const remote = new Remote(portOf(port1), (busy) => {
    held += busy ? 1 : -1;
    assert.ok(held >= 0);
  });
  return { remote, busy: () => held, close: () => port1.close() };
}

/** Runs a test on a pair, and sees to it that no call is left. */
function withPair(handlers: Readonly<Record<string, Handler>>, body: (pair: Pair) => Promise<void>) {
  return async () => {
    const made = pair(handlers);
    try {
      await body(made);
      assert.deepEqual([made.remote.pending, made.busy()], [0, 0]);
    } finally {
      made.close();
    }
  };
}

const rejection = async (call: Promise<unknown>): Promise<unknown> => {
  try {
    await call;
  } catch (error) {
    return error;
  }
  return assert.fail('it should have failed');
};

/** Resolves when told; a handler that waits. */
function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

const untilAborted = (context: CallContext): Promise<never> =>
  new Promise((_, reject) => {
    context.signal.addEventListener('abort', () => reject(new Error('stopped by the signal')));
  });

describe('results', () => {
  const handlers = {
    add: ({ a, b }: { readonly a: number; readonly b: number }) => a + b,
    later: async (value: unknown) => value,
    nothing: () => {},
    moved: () => {
      const bytes = new Uint8Array([1, 2, 3]);
      return new Moved({ bytes }, [bytes.buffer]);
    },
    take: (bytes: Uint8Array) => bytes.length,
  };
  test(
    'of plain and async handlers',
    withPair(handlers, async ({ remote }) => {
      assert.equal(await remote.call('add', { a: 1, b: 2 }), 3);
      assert.deepEqual(await remote.call('later', { deep: [1n, new Uint8Array([1])] }), {
        deep: [1n, new Uint8Array([1])],
      });
      assert.equal(await remote.call('nothing', undefined), undefined);
    }),
  );

  test(
    'buffers are moved both ways',
    withPair(handlers, async ({ remote }) => {
      assert.deepEqual(await remote.call('moved', undefined), { bytes: new Uint8Array([1, 2, 3]) });
      const bytes = new Uint8Array(10);
      const length = remote.call('take', bytes, { transfer: [bytes.buffer] });
      assert.equal(bytes.length, 0);
      assert.equal(await length, 10);
    }),
  );

  const slow = gate();
  const mixed = { slow: () => slow.opened.then(() => 'slow'), fast: () => 'fast' };
  test(
    'each call gets its own answer, in whatever order they come',
    withPair(mixed, async ({ remote, busy }) => {
      const [first, second] = [remote.call('slow', 1), remote.call('fast', 2)];
      assert.deepEqual([remote.pending, busy()], [2, 2]);
      assert.equal(await second, 'fast');
      assert.equal(remote.pending, 1);
      slow.open();
      assert.equal(await first, 'slow');
    }),
  );
});

describe('errors', () => {
  const facts: ErrorFacts = { id: 'ab', count: 3, whole: true, missing: ['x', 'y'] };
  const handlers = {
    store: () => {
      throw new StoreError('no-space', 'the disk is full', facts, new Error('ENOSPC: write'));
    },
    plain: async () => Promise.reject(new TypeError('a bug')),
    system: () => {
      throw Object.assign(new Error('EIO: read'), { code: 'EIO' });
    },
    odd: () => {
      throw 'just text' as unknown as Error;
    },
    uncloneable: () => () => {},
  };
  test(
    'a StoreError keeps code, message, facts and what caused it',
    withPair(handlers, async ({ remote }) => {
      const error = await rejection(remote.call('store', undefined));
      assert.ok(StoreError.is(error, 'no-space') && error instanceof StoreError);
      assert.equal(error.message, 'the disk is full');
      assert.deepEqual(error.facts, facts);
      assert.match(String(error.cause), /ENOSPC/);
    }),
  );

  test(
    'another error keeps its message and the stack of where it happened',
    withPair(handlers, async ({ remote }) => {
      const error = await rejection(remote.call('plain', undefined));
      assert.ok(error instanceof Error && !StoreError.is(error));
      assert.equal(error.message, 'a bug');
      assert.match(error.stack ?? '', /TypeError: a bug[\s\S]*rpc\.test/);
    }),
  );

  test(
    'a system error keeps its code',
    withPair(handlers, async ({ remote }) => {
      assert.equal(systemCode(await rejection(remote.call('system', undefined))), 'EIO');
    }),
  );

  test(
    'a thrown non-error, an unknown method, a result that cannot cross',
    withPair(handlers, async ({ remote }) => {
      assert.match(String(await rejection(remote.call('odd', undefined))), /just text/);
      assert.match(String(await rejection(remote.call('none', undefined))), /holdfast bug: no method none/);
      assert.match(String(await rejection(remote.call('uncloneable', undefined))), /could not be cloned/);
    }),
  );

  test(
    'arguments that cannot cross fail the call and leave nothing behind',
    withPair(handlers, async ({ remote }) => {
      assert.match(String(await rejection(remote.call('odd', () => {}))), /could not be cloned/);
    }),
  );
});

describe('cancellation', () => {
  const started = gate();
  const stopped = gate();
  const handlers = {
    wait: async (_: unknown, context: CallContext) => {
      started.open();
      try {
        return await untilAborted(context);
      } finally {
        stopped.open();
      }
    },
    deaf: async () => 'done anyway',
    after: async (_: unknown, context: CallContext) => {
      await untilAborted(context).catch(() => {});
      throw new StoreError('unavailable', 'something else went wrong');
    },
    calm: (_: unknown, context: CallContext) => context.signal.aborted,
  };
  test(
    'stops the handler, and the call fails with the reason',
    withPair(handlers, async ({ remote }) => {
      const stop = new AbortController();
      const call = remote.call('wait', undefined, { signal: stop.signal });
      await started.opened;
      const reason = new Error('the user left');
      stop.abort(reason);
      assert.equal(await rejection(call), reason);
      await stopped.opened;
    }),
  );

  test(
    'before the call fails it at once, and nothing is sent',
    withPair(handlers, async ({ remote }) => {
      const call = remote.call('deaf', undefined, { signal: AbortSignal.abort('gone') });
      assert.equal(remote.pending, 0);
      assert.equal(await rejection(call), 'gone');
    }),
  );

  test(
    'that comes too late does not undo the result',
    withPair(handlers, async ({ remote }) => {
      const stop = new AbortController();
      const call = remote.call('deaf', undefined, { signal: stop.signal });
      stop.abort();
      assert.equal(await call, 'done anyway');
      stop.abort();
    }),
  );

  test(
    'does not hide a StoreError of the handler',
    withPair(handlers, async ({ remote }) => {
      const stop = new AbortController();
      const call = remote.call('after', undefined, { signal: stop.signal });
      stop.abort();
      assert.ok(StoreError.is(await rejection(call), 'unavailable'));
    }),
  );

  test(
    'of one call leaves others alone',
    withPair(handlers, async ({ remote }) => {
      const stop = new AbortController();
      const stopping = rejection(remote.call('wait', undefined, { signal: stop.signal }));
      stop.abort();
      assert.equal(await remote.call('calm', undefined), false);
      await stopping;
    }),
  );
});

describe('progress', () => {
  const handlers = {
    count: async (to: number, context: CallContext) => {
      for (let i = 1; i <= to; i++) context.progress(i);
      return 'counted';
    },
    tooLate: async (_: unknown, context: CallContext) => {
      setTimeout(() => context.progress('too late'), 5);
      return 'early';
    },
    pause: () => new Promise((resolve) => setTimeout(resolve, 20)),
  };
  test(
    'arrives in order, before the result, for its own call',
    withPair(handlers, async ({ remote }) => {
      const seen: unknown[][] = [[], []];
      const calls = [3, 2].map((to, index) =>
        remote.call('count', to, { onProgress: (value) => void seen[index]!.push(value) }),
      );
      assert.deepEqual(await Promise.all(calls), ['counted', 'counted']);
      assert.deepEqual(seen, [
        [1, 2, 3],
        [1, 2],
      ]);
      assert.equal(await remote.call('count', 2), 'counted');
    }),
  );

  test(
    'after the result is dropped',
    withPair(handlers, async ({ remote }) => {
      let heard = 0;
      await remote.call('tooLate', undefined, { onProgress: () => void heard++ });
      await remote.call('pause', undefined);
      assert.equal(heard, 0);
    }),
  );
});

describe('death of the other end', () => {
  const handlers = { hang: () => new Promise(() => {}), quick: () => 'quick' };
  test(
    'rejects what was under way and all that comes later',
    withPair(handlers, async ({ remote }) => {
      const stop = new AbortController();
      const calls = [remote.call('hang', 1), remote.call('hang', 2, { signal: stop.signal })];
      const death = new Error('the thread died');
      remote.fail(death);
      for (const call of calls) assert.equal(await rejection(call), death);
      assert.equal(await rejection(remote.call('quick', undefined)), death);
      stop.abort();
    }),
  );

  test(
    'an answer that was still on its way is dropped',
    withPair(handlers, async ({ remote }) => {
      const call = remote.call('quick', undefined);
      remote.fail(new Error('died'));
      assert.match(String(await rejection(call)), /died/);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }),
  );
});
