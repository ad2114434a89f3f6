/** Peers that lie, flood, bend the rules or fall silent: a typed error, no root moved, nothing stored that was not asked for and right. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Store, StoreError, openStore } from '../../engine/index.ts';
import { type Transport, pair, pull, repairFrom, serve, streamTransport } from '../../sync/index.ts';
import type { MakeTransport } from '../conformance/transport.ts';
import { full } from '../crash/sample.ts';
import { noise, smallParameters, text, withCode } from '../engine/store-folder.ts';
import {
  type Attack,
  askAll,
  attacks as transferAttacks,
  bomb,
  ghost,
  idOf,
  mainTree,
  nodeOf,
  throwBomb,
  untilWanted,
} from './attacks.ts';
import { encodedAttacks } from './encoded-attacks.ts';
import { AllTransports } from './ends.ts';
import { furtherAttacks, wound } from './further-attacks.ts';
import { ScriptedPeer } from './scripted-peer.ts';
import { setTree } from './stores.ts';

const base = mkdtempSync(join(tmpdir(), 'holdfast-hostile-'));
let victim: Store;
let mainRoot = '';
const all = new AllTransports();
const attacks = [...transferAttacks, ...furtherAttacks, ...encodedAttacks];

before(async () => {
  victim = await openStore(join(base, 'victim'), {
    threads: { count: 0 },
    durability: 'relaxed',
    parameters: smallParameters,
  });
  mainRoot = await setTree(victim, 'main', mainTree);
  const { id } = await victim.put(wound, { owner: 'the wound' });
  const path = (await victim.pathOf(id))!;
  rmSync(path);
  writeFileSync(path, noise(wound.length, 78));
  await assert.rejects(victim.get(id), withCode('corrupt'));
});

after(async () => {
  await all.close();
  const { damaged, recounted } = await victim.scrub();
  assert.deepEqual([damaged.map(({ id }) => id), recounted], [[idOf(wound)], 0]);
  await victim.close();
  rmSync(base, { recursive: true });
});

/** Runs one attack; resolves with what the victim rejected with. */
async function run(attack: Attack, make: MakeTransport): Promise<unknown> {
  // As if no transfer had been cut before: after one, nothing is named as common.
  await victim.sideTable('sync').set([['cut', undefined]]);
  const { ends, dispose } = await make();
  // Over a network, the side that is served listens.
  const isServed = attack.while === 'serve' || attack.while === 'append';
  const [here, there] = isServed ? ends : [ends[1], ends[0]];
  const peer = new ScriptedPeer(there);
  const options = { stallMs: attack.stallMs ?? 20_000 };
  const doing = {
    pull: () => pull(victim, here, { roots: ['x'], ...options }),
    serve: () => serve(victim, here, options),
    append: () => serve(victim, here, { ...options, allow: 'append' }),
    repair: () => repairOnce(here, options),
  };
  const victims = doing[attack.while]();
  const acting = attack.act(peer);
  // Its victim closes: that is how most attacks end. What it says last is taken, so that nobody waits for it.
  const taking = acting
    .catch(() => undefined)
    .then(async () => {
      while ((await there.receive()) !== undefined);
    });
  taking.catch(() => undefined);
  const error = await victims.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await there.close(new Error('the attack is over'));
  await dispose?.();
  return error;
}

/** A repair that reaches the attacker once. */
async function repairOnce(here: Transport, options: { readonly stallMs: number }): Promise<never> {
  const connections = [here];
  const connect = (): Promise<Transport> => {
    const next = connections.pop();
    return next === undefined ? Promise.reject(new StoreError('busy', 'no more')) : Promise.resolve(next);
  };
  const { remaining, failure } = await repairFrom(victim, connect, { verify: false, ...options });
  assert.deepEqual(
    remaining.map(({ id }) => id),
    [idOf(wound)],
  );
  throw failure ?? new StoreError('unavailable', remaining[0]!.reason);
}

test('there are at least a hundred attacks, each under a name of its own', () => {
  assert.ok(attacks.length >= 100, `${attacks.length}`);
  assert.equal(new Set(attacks.map(({ name }) => name)).size, attacks.length);
});

/** Every attack in memory, and on each other transport one in three, so that all are on one of them; in full, all on all. */
const attacked = Object.entries(all.make).flatMap(([transport, make], nth) =>
  attacks
    .filter(({ dear }, i) => transport === 'pair' || (dear !== true && (full || i % 3 === nth % 3)))
    .map((attack) => [transport, make, attack] as const),
);

for (const [transport, make, attack] of attacked)
  test(`a hostile peer (${transport}, ${attack.while}): ${attack.name}`, { timeout: 20_000 }, async () => {
    const blobs = (await victim.stats()).blobs;
    const error = await run(attack, make);
    assert.ok(
      StoreError.is(error),
      `a typed error, not ${String((error as Error | undefined)?.stack ?? error)}`,
    );
    assert.ok(attack.codes.includes(error.code), `${error.code}: ${error.message}`);
    assert.ok(!/[\u0000-\u001f\u007f-\u009f]/.test(error.message), 'no control characters of a stranger');
    assert.deepEqual(
      (await victim.roots.list()).map(({ name, id }) => [name, id]),
      [['main', mainRoot]],
    );
    if (attack.leavesBlobs === true) await victim.gc({ graceMs: 0 });
    const after = await victim.stats();
    assert.deepEqual([after.blobs, after.openHandles], [blobs, 0], 'nothing was stored, nothing is open');
  });

test('a node that came as raw bytes is no node: what is below it is asked for', async () => {
  const below = text('below the planted node');
  const planted = nodeOf([{ kind: 'raw', id: idOf(below) }]);
  await victim.put(planted);
  const root = nodeOf([{ kind: 'node', id: idOf(planted) }], 'root');
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const pulling = pull(victim, here, { roots: ['x'], stallMs: 2000 });
  await untilWanted(peer, idOf(root));
  await peer.blob('node', idOf(root), root);
  assert.deepEqual((await peer.hear('want')).wants, [{ kind: 'node', id: idOf(planted), from: 0 }]);
  await peer.blob('node', idOf(planted), planted);
  await peer.hear('want');
  await peer.blob('raw', idOf(below), below);
  await peer.hear('done');
  await peer.transport.close();
  await pulling.catch(() => undefined);
  assert.equal(await victim.roots.get('x'), idOf(root));
  assert.equal((await victim.stat(idOf(planted)))?.kind, 'node');
  await victim.roots.delete('x');
});

test('nodes too large and too many to hold take a bounded part of the process they are sent to', async (t) => {
  if (!existsSync('/proc/self/status')) return t.skip('the memory of another process is read from /proc');
  const folder = join(base, 'of a child');
  await (await openStore(folder, { threads: { count: 0 } })).close();
  const serving = fileURLToPath(new URL('./serving-child.ts', import.meta.url));
  const child = spawn(process.execPath, ['--no-warnings', serving, folder], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const peer = new ScriptedPeer(streamTransport({ input: child.stdout, output: child.stdin }));
  const nodes = bomb();
  await peer.hello();
  await peer.say({ type: 'offer', roots: [{ name: 'x', id: idOf(nodes[0]!), marks: [] }] });
  await peer.hear('ask');
  const most = (): number =>
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
  const idle = most();
  let seen = 0;
  const watching = setInterval(() => {
    try {
      seen = Math.max(seen, most());
    } catch {
      // it has ended
    }
  }, 5);
  await peer.say({ type: 'roots', roots: [{ name: 'x', id: idOf(nodes[0]!), kind: 'node', base: null }] });
  await assert.rejects(throwBomb(peer, nodes), /the victim said limit-exceeded/);
  clearInterval(watching);
  await peer.transport.close(new Error('over'));
  t.diagnostic(`${Math.round(seen)} MiB at most, ${Math.round(idle)} before`);
  assert.ok(seen > idle && seen < 256, `${Math.round(seen)} MiB, ${Math.round(idle)} before`);
});

test('one that wants much and takes nothing costs a window of memory, not more', async () => {
  const large = noise(1024 * 1024, 9);
  await victim.put(large, { owner: 'me' });
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const serving = serve(victim, here, { stallMs: 1500 });
  await askAll(peer);
  const before = process.memoryUsage().rss;
  const want = { kind: 'raw', id: idOf(large), from: 0 } as const;
  await peer.say({ type: 'want', wants: Array.from({ length: 1000 }, () => want) });
  // Nothing is received, no credit is given.
  await assert.rejects(serving, withCode('unavailable'));
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 100 * 1024 * 1024, `${Math.round(grown / 1024 / 1024)} MiB`);
  await victim.release(idOf(large), 'me');
});

test('a blob wanted from behind its end comes from its beginning', async () => {
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const serving = serve(victim, here, { stallMs: 2000 });
  await askAll(peer);
  await peer.say({ type: 'want', wants: [{ kind: 'node', id: mainRoot, from: 1_000_000 }] });
  const { id, offset, size } = await peer.hear('blob');
  assert.deepEqual([id, offset, size], [mainRoot, 0, (await victim.stat(mainRoot))?.size]);
  await peer.say({ type: 'done', changed: [true], blobs: 1, bytes: 1 });
  await peer.transport.close();
  await serving;
});

test('a beginning that a liar left is forgotten, and the blob comes whole from somebody honest', async () => {
  const content = noise(900_000, 5);
  const lie = async (size: number): Promise<void> => {
    const [here, there] = pair();
    const peer = new ScriptedPeer(there);
    const pulling = pull(victim, here, { roots: ['x'], stallMs: 2000 });
    await untilWanted(peer, idOf(content), 'raw');
    await peer.blob('raw', idOf(content), noise(400_000, 6), { size });
    await peer.transport.close();
    await assert.rejects(pulling);
  };
  const honest = await openStore(join(base, 'honest'), { threads: { count: 0 }, durability: 'relaxed' });
  await honest.put(content, { owner: 'me' });
  await honest.roots.set('x', idOf(content));
  for (const size of [900_000, 2_000_000]) {
    await lie(size);
    const [here, there] = pair();
    await Promise.all([pull(victim, here, { roots: ['x'] }), serve(honest, there)]);
    assert.equal(await victim.roots.get('x'), idOf(content));
    await victim.roots.delete('x');
    await victim.gc({ graceMs: 0 });
    assert.equal(await victim.has(idOf(content)), false);
  }
  await honest.close();
});

test('wants for what is not there are answered as absent, and the serving side goes on', async () => {
  const [here, there] = pair();
  const peer = new ScriptedPeer(there);
  const serving = serve(victim, here, { stallMs: 2000 });
  await askAll(peer);
  await peer.say({ type: 'want', wants: [{ kind: 'raw', id: ghost, from: 0 }] });
  assert.deepEqual(await peer.hear('absent'), { type: 'absent', kind: 'raw', id: ghost });
  await peer.say({ type: 'want', wants: [{ kind: 'node', id: mainRoot, from: 0 }] });
  assert.equal((await peer.hear('blob')).id, mainRoot);
  await peer.say({ type: 'done', changed: [true], blobs: 1, bytes: 1 });
  await peer.say({ type: 'bye' });
  await peer.transport.close();
  assert.equal((await serving).length, 1);
});
