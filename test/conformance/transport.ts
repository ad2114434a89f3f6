/** The suite every transport passes: bytes in order, backpressure, a clean end told apart from a cut, no waiting for ever after one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Transport } from '../../sync/transport.ts';

/** Two connected ends for one test. */
export interface TransportUnderTest {
  readonly ends: readonly [Transport, Transport];
  /** Breaks the way between them as a crash would; absent where nothing can. */
  readonly cut?: () => void | Promise<void>;
  /** A cut may look like an end here, as with pipes. */
  readonly cutsLookLikeEnds?: boolean;
  readonly dispose?: () => void | Promise<void>;
}

export type MakeTransport = () => TransportUnderTest | Promise<TransportUnderTest>;

/** Runs the suite on fresh pairs of ends made by `make`. */
export function transportSuite(name: string, make: MakeTransport): void {
  const check = (what: string, body: (given: TransportUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, { timeout: 30_000 }, async () => {
      const given = await make();
      try {
        await body(given);
      } finally {
        for (const end of given.ends) await end.close(new Error('the test is over'));
        await given.dispose?.();
      }
    });
  };

  check('bytes come in order, each once, whatever the pieces', async ({ ends: [a, b] }) => {
    const sizes = [1, 2, 3, 1000, 65_536, 65_537, 1, 3_000_000, 7, 0, 40_000];
    const whole = bytesFrom(
      0,
      sizes.reduce((sum, size) => sum + size),
    );
    const sending = (async () => {
      let at = 0;
      for (const size of sizes) await a.send(whole.slice(at, (at += size)));
      await a.close();
    })();
    assert.equal(Buffer.compare(await readAll(b), whole), 0);
    await sending;
  });

  check('both directions carry at once', async ({ ends: [a, b] }) => {
    const there = bytesFrom(1, 2_000_000);
    const back = bytesFrom(2, 1_500_000);
    const [got, gotBack] = await Promise.all([
      readCount(b, there.length),
      readCount(a, back.length),
      sendInPieces(a, there, 50_000),
      sendInPieces(b, back, 70_000),
    ]);
    assert.equal(Buffer.compare(got, there), 0);
    assert.equal(Buffer.compare(gotBack, back), 0);
  });

  check('a receiver waits for bytes that come later', async ({ ends: [a, b] }) => {
    const receiving = b.receive();
    await pause(20);
    await a.send(bytesFrom(3, 10));
    assert.deepEqual([...(await receiving)!], [...bytesFrom(3, 10)]);
  });

  check('what is received belongs to the receiver, also when more comes', async ({ ends: [a, b] }) => {
    await a.send(bytesFrom(4, 100));
    const first = await readCount(b, 100);
    await a.send(bytesFrom(5, 100));
    await readCount(b, 100);
    assert.deepEqual([...first], [...bytesFrom(4, 100)]);
  });

  check('a sender that is not listened to has to wait', async ({ ends: [a, b] }) => {
    let sent = 0;
    const most = 64 * 1024 * 1024;
    const sending = (async () => {
      for (; sent < most; sent += 65_536) await a.send(bytesFrom(sent, 65_536));
    })();
    sending.catch(() => undefined);
    for (let before = -1; sent !== before;) {
      before = sent;
      await pause(200);
    }
    assert.ok(sent < most, `${sent} bytes were taken though nobody received any`);
    const first = await b.receive();
    assert.equal(first?.[0], bytesFrom(0, 1)[0]);
  });

  check('after a clean end the rest is received, then undefined, for ever', async ({ ends: [a, b] }) => {
    // It may have to wait until somebody receives.
    const closing = a.send(bytesFrom(6, 200_000)).then(() => a.close());
    assert.equal((await readAll(b)).length, 200_000);
    assert.equal(await b.receive(), undefined);
    assert.equal(await b.receive(), undefined);
    await closing;
  });

  check('a half that is closed leaves the other side able to close too', async ({ ends: [a, b] }) => {
    await a.close();
    assert.equal(await b.receive(), undefined);
    await b.close();
    await a.close();
    await b.close();
  });

  check('after its own close an end neither sends nor waits', async ({ ends: [a] }) => {
    const receiving = a.receive();
    await pause(10);
    await a.close();
    assert.equal(await receiving, undefined);
    assert.equal(await a.receive(), undefined);
    await assert.rejects(a.send(bytesFrom(7, 1)), withCode('closed'));
  });

  check('a close with a reason ends the calls of its own side with that reason', async ({ ends: [a] }) => {
    const receiving = a.receive();
    const told = assert.rejects(receiving, /enough/);
    await pause(10);
    await a.close(new Error('enough'));
    await told;
    await assert.rejects(a.receive(), /enough/);
  });

  check('sending to an end that has gone is unavailable, soon', async ({ ends: [a, b] }) => {
    await b.close(new Error('gone'));
    await assert.rejects(async () => {
      for (let i = 0; i < 2000; i++) {
        await a.send(bytesFrom(i, 65_536));
        await pause(0);
      }
    }, withCode('unavailable'));
  });

  check('a cut ends a receive that waits, and later calls, as unavailable', async (given) => {
    const {
      ends: [a, b],
      cut,
    } = given;
    if (cut === undefined) return;
    await a.send(bytesFrom(8, 10));
    await readCount(b, 10);
    const ended = async (): Promise<void> => {
      if (given.cutsLookLikeEnds === true) assert.equal(await b.receive().catch(() => undefined), undefined);
      else await assert.rejects(b.receive(), withCode('unavailable'));
    };
    const waiting = ended();
    await cut();
    await waiting;
    await ended();
  });

  check('a cut ends a send that waits for room', async ({ ends: [a], cut }) => {
    if (cut === undefined) return;
    const sending = assert.rejects(async () => {
      for (;;) await a.send(bytesFrom(9, 65_536));
    }, withCode('unavailable'));
    await pause(100);
    await cut();
    await sending;
  });
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code?: unknown }).code, code, String(error));
    return true;
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function bytesFrom(seed: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 17 + seed * 7) & 0xff;
  return bytes;
}

async function sendInPieces(end: Transport, bytes: Uint8Array, size: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += size) await end.send(bytes.slice(at, at + size));
}

async function readAll(end: Transport): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let next = await end.receive(); next !== undefined; next = await end.receive()) {
    assert.ok(next.length > 0, 'an empty piece was received');
    pieces.push(next);
  }
  return Buffer.concat(pieces);
}

async function readCount(end: Transport, count: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let have = 0; have < count;) {
    const next = await end.receive();
    assert.ok(next !== undefined, `the end came after ${have} of ${count} bytes`);
    pieces.push(next);
    have += next.length;
  }
  return Buffer.concat(pieces);
}
