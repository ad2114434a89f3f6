// The process that is crashed: mixed puts, retains, releases, gc and roots on one store, every acknowledgement written down.
//
// Started with a Plan as its JSON argument, or with a Subject: then it loads the code, says `ready`, and takes its Plan as a line
// from stdin, so that a replacement for a killed process stands by. Lines go to `plan.ack` by an O_APPEND descriptor: `start` before a call, `done` after
// it resolved (oracle.ts says what they mean). With a recorder loaded, `plan.ack` is its REC_ACK, so the lines stand in the log.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { openSync, writeFileSync, writeSync, unlinkSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Expectation, Line } from './oracle.ts';
import { seededBytes, seededRandom, type Random } from './random.ts';
import { type StoreUnderTest, piecesOf, putPieces } from './store-under-test.ts';
import { encryption, loadSubject, rootValue, type Subject } from './subject.ts';

export interface Plan {
  readonly subject: Subject;
  /** The store's folder. */
  readonly store: string;
  readonly ack: string;
  /** A folder for source files, outside the store. */
  readonly scratch: string;
  readonly seed: number;
  /** Decides the contents; processes that share it put the same blobs. */
  readonly contentSeed: number;
  readonly owners: readonly string[];
  readonly roots: readonly string[];
  /** Operations of each open; between two of them the store is closed and opened again. `[]` only opens and closes. */
  readonly rounds: readonly number[];
  readonly lanes: number;
  /** Everything on the main thread: the store is open in a fraction of the time. */
  readonly inline?: boolean;
  /** Leave without closing the store. */
  readonly leaveOpen: boolean;
  readonly encrypted: boolean;
  /** Epochs turn, and everything is sealed anew, among the rest: for a process that has the store for itself. */
  readonly rekeys: boolean;
  /** A folder for further volumes, which come and go, are mirrored and moved among the rest. Absent: the store stays as it was made. */
  readonly volumes?: string;
  /** Contents, and the sizes that the store is made of, are so many times smaller: the same steps, fewer bytes. */
  readonly scale: 1 | 16;
  /** What earlier processes with these owners left, where there were any. */
  readonly left?: Expectation;
}

interface Reference {
  readonly owner: string;
  readonly id: string;
  holding: 'held' | 'free' | 'unknown';
  busy: boolean;
}

const contents = { small: 48, large: 8 };
/** The default sizes by 16, or the smallest that there are; volumes are full after a few hundred puts. */
const smallSizes = {
  smallMax: 16_384,
  extentBytes: 4096,
  chunkBytes: 4096,
  volumeBytesMax: 1024 * 1024,
} as const;

async function main(argument: Plan | Subject): Promise<void> {
  const openStore = await loadSubject('kind' in argument ? argument : argument.subject);
  const plan = 'kind' in argument ? await planFromStdin() : argument;
  await carryOut(openStore, plan);
  if (plan.leaveOpen) process.exit(0);
}

export async function carryOut(
  openStore: Awaited<ReturnType<typeof loadSubject>>,
  plan: Plan,
): Promise<void> {
  const ack = openSync(plan.ack, 'a');
  const say = (line: Line): void => void writeSync(ack, `${JSON.stringify(line)}\n`);
  const random = seededRandom(plan.seed, 1);
  const state = createState(plan, random);
  // Some contents compress, some do not: files that are the content, and framed ones.
  const options = {
    compression: 'auto',
    ...(plan.encrypted ? { encryption } : {}),
    ...(plan.inline === true ? { threads: { count: 0 } } : {}),
    ...(plan.scale === 1 ? {} : { parameters: smallSizes }),
  };
  let store = await openStore(plan.store, options);
  say({ k: 'opened' });
  // Where a cache is kept at all: who is killed writes none.
  flushCompileCache();
  for (const [round, operations] of plan.rounds.entries()) {
    if (round > 0) {
      await store.close();
      store = await openStore(plan.store, options);
    }
    let left = operations;
    const lane = async (): Promise<void> => {
      while (left-- > 0) await operate(state, store, say);
    };
    await Promise.all(Array.from({ length: plan.lanes }, lane));
  }
  if (!plan.leaveOpen) await store.close();
  say({ k: 'end' });
}

async function planFromStdin(): Promise<Plan> {
  process.stdout.write('ready\n');
  const lines = createInterface({ input: process.stdin });
  const [line] = (await once(lines, 'line')) as [string];
  lines.close();
  process.stdin.destroy();
  return JSON.parse(line) as Plan;
}

interface State {
  readonly plan: Plan;
  readonly random: Random;
  readonly references: Map<string, Reference>;
  readonly roots: Map<string, { allowed: readonly (string | null)[]; busy: boolean }>;
  /** Contents by number, and their ids. */
  readonly ids: string[];
  /** Blobs as they lay when they were read. */
  readonly pieces: Map<string, Exclude<Awaited<ReturnType<typeof piecesOf>>, undefined>>;
  scratchFiles: number;
}

function createState(plan: Plan, random: Random): State {
  const references = new Map<string, Reference>();
  for (const r of plan.left?.references ?? []) references.set(`${r.owner} ${r.id}`, { ...r, busy: false });
  const roots = new Map<string, { allowed: readonly (string | null)[]; busy: boolean }>();
  for (const name of plan.roots) {
    const known = plan.left?.roots.find((r) => r.name === name);
    roots.set(name, { allowed: known?.allowed ?? [null], busy: false });
  }
  const ids: string[] = [];
  for (let i = 0; i < contents.small + contents.large; i++)
    ids.push(createHash('sha256').update(contentOf(plan, i)).digest('hex'));
  return { plan, random, references, roots, ids, pieces: new Map(), scratchFiles: 0 };
}

/** Small contents of 0 bytes to the small/large threshold, then large ones; the first ones are the edges. */
function contentOf(plan: Plan, index: number): Uint8Array {
  const random = seededRandom(plan.contentSeed, 1000 + index);
  const smallMax = 262_144 / plan.scale;
  const edges = [0, 1, smallMax, smallMax - 1, smallMax / 4];
  let size = edges[index];
  if (index >= contents.small) size = smallMax + 1 + random.below(500_000 / plan.scale);
  else if (size === undefined) size = random.below((random.chance(0.8) ? 16_384 : 120_000) / plan.scale);
  const bytes = seededBytes(plan.contentSeed * 1009 + index, size);
  return index % 2 === 0 ? bytes : bytes.map((byte) => byte & 0x0f);
}

type Say = (line: Line) => void;

async function operate(state: State, store: StoreUnderTest, say: Say): Promise<void> {
  const { random, plan } = state;
  if (plan.rekeys && random.chance(0.03)) return rekey(store, say, random.chance(0.5) ? 'rotate' : 'reseal');
  if (plan.volumes !== undefined && random.chance(0.08)) return reshape(state, store, say, plan.volumes);
  const dice = random.below(100);
  if (dice < 36) return put(state, store, say, random.below(contents.small));
  if (dice < 46) return put(state, store, say, contents.small + random.below(contents.large));
  if (dice < 52) {
    const many = Array.from({ length: 2 + random.below(8) }, () => random.below(contents.small));
    await Promise.all(many.map((index) => put(state, store, say, index)));
    return;
  }
  if (dice < 58) return retain(state, store, say);
  if (dice < 78) return release(state, store, say);
  if (dice < 84) return collect(store, say);
  if (dice < 92) return setRoot(state, store, say);
  if (dice < 94) return deleteRoot(state, store, say);
  return read(state, store, say);
}

/** The reference of an owner to an id, marked busy; undefined when another lane is at it. */
function take(state: State, owner: string, id: string): Reference | undefined {
  const key = `${owner} ${id}`;
  let reference = state.references.get(key);
  if (reference === undefined) {
    reference = { owner, id, holding: 'free', busy: false };
    state.references.set(key, reference);
  }
  if (reference.busy) return undefined;
  reference.busy = true;
  return reference;
}

/** Some reference that is certainly held and that no lane is at, marked busy. */
function takeHeld(state: State): Reference | undefined {
  const held = [...state.references.values()].filter((r) => r.holding === 'held' && !r.busy);
  if (held.length === 0) return undefined;
  const reference = state.random.pick(held);
  reference.busy = true;
  return reference;
}

const reason = (error: unknown): string =>
  error instanceof Error
    ? `${(error as { code?: string }).code ?? error.name}: ${error.message}`
    : String(error);

/** Runs one change of a reference between its lines. */
async function change(
  reference: Reference,
  op: 'hold' | 'drop',
  say: Say,
  work: () => Promise<void>,
): Promise<void> {
  const { owner, id } = reference;
  say({ k: 'start', op, owner, id });
  try {
    await work();
    reference.holding = op === 'hold' ? 'held' : 'free';
    say({ k: 'done', op, owner, id });
  } catch (error) {
    reference.holding = 'unknown';
    say({ k: 'fail', op, owner, id, why: reason(error) });
    complain(say, `${op} ${id.slice(0, 8)} for ${owner}`, error);
  } finally {
    reference.busy = false;
  }
}

/** A rejected call is a finding, unless the store only says that it is busy. */
function complain(say: Say, what: string, error: unknown): void {
  if ((error as { code?: string }).code !== 'busy')
    say({ k: 'bad', what: `${what} rejected: ${reason(error)}` });
}

async function put(state: State, store: StoreUnderTest, say: Say, index: number): Promise<void> {
  const { plan, random } = state;
  const id = state.ids[index]!;
  const reference = take(state, random.pick(plan.owners), id);
  if (reference === undefined) return;
  const bytes = contentOf(plan, index);
  const kind = random.below(index < contents.small ? 8 : 3);
  let path: string | undefined;
  let source: Parameters<StoreUnderTest['put']>[0] = bytes;
  if (kind === 1) {
    path = join(plan.scratch, `${process.pid}-${state.scratchFiles++}`);
    writeFileSync(path, bytes);
    source = { path };
  } else if (kind === 2) source = new Blob([Uint8Array.from(bytes)]).stream();
  await change(reference, 'hold', say, async () => {
    const chunking = index % 3 === 0 ? 'fastcdc' : 'off';
    const { owner } = reference;
    const pieces = kind === 3 || index >= contents.small ? state.pieces.get(id) : undefined;
    const result =
      pieces === undefined || !random.chance(0.5)
        ? await store.put(source, { owner, chunking })
        : await putPieces(store, pieces, { bytes, owner });
    if (result.id !== id || result.size !== bytes.length)
      say({
        k: 'bad',
        what: `put answered ${result.id} of ${result.size} bytes for ${id} of ${bytes.length}`,
      });
  });
  if (path !== undefined) unlinkSync(path);
}

async function retain(state: State, store: StoreUnderTest, say: Say): Promise<void> {
  const known = takeHeld(state);
  if (known === undefined) return;
  const reference = take(state, state.random.pick(state.plan.owners), known.id);
  if (reference !== undefined)
    await change(reference, 'hold', say, async () => void (await store.retain(known.id, reference.owner)));
  known.busy = false;
}

async function release(state: State, store: StoreUnderTest, say: Say): Promise<void> {
  const free = [...state.references.values()].filter((r) => r.holding !== 'free' && !r.busy);
  if (free.length === 0) return;
  const reference = state.random.pick(free);
  reference.busy = true;
  const before = reference.holding;
  await change(reference, 'drop', say, async () => {
    const had = await store.release(reference.id, reference.owner);
    if (before === 'held' && !had)
      say({ k: 'bad', what: `release of ${reference.id} by ${reference.owner} found no reference` });
  });
}

async function collect(store: StoreUnderTest, say: Say): Promise<void> {
  try {
    await store.gc({ graceMs: 0 });
  } catch (error) {
    complain(say, 'gc', error);
  }
}

async function rekey(store: StoreUnderTest, say: Say, how: 'rotate' | 'reseal'): Promise<void> {
  try {
    await store.keys![how]();
  } catch (error) {
    complain(say, how, error);
  }
}

/** A change of the group. */
async function reshape(state: State, store: StoreUnderTest, say: Say, folder: string): Promise<void> {
  const { random } = state;
  const volumes = store.volumes!;
  const kind = random.pick(['directory', 'sqlite'] as const);
  const path = join(folder, kind);
  const change = random.pick([
    'extend',
    'extend',
    'reduce',
    'move',
    'mirror',
    'mirror',
    'rebalance',
    'compact',
  ]);
  try {
    const list = await volumes.list();
    const there = list.find((volume) => volume.path === path);
    if (change === 'extend' && there === undefined)
      await volumes.extend(path, { kind, allocation: 'striped' });
    else if (change === 'reduce' && there !== undefined) await volumes.reduce(there.id);
    else if (change === 'move')
      await volumes.move(random.pick(list.filter(({ kind: of }) => of !== 'folder')).id);
    else if (change === 'mirror') await volumes.mirror(1 + random.below(2));
    else if (change === 'rebalance') await volumes.rebalance();
    else await store.compact!();
  } catch (error) {
    // Another lane was faster.
    const isThere = async (): Promise<boolean> => (await volumes.list()).some((one) => one.path === path);
    if (change === 'extend' && (error as { code?: string }).code === 'conflict' && (await isThere())) return;
    // Refused because of what the group is at the moment: too few members for the copies, or nowhere to go.
    if (!['invalid-argument', 'no-space', 'not-found'].includes((error as { code?: string }).code ?? ''))
      complain(say, change, error);
  }
}

async function changeRoot(
  state: State,
  say: Say,
  id: string | null,
  work: (name: string, expect: string | null) => Promise<unknown>,
  store: StoreUnderTest,
): Promise<void> {
  const free = [...state.roots].filter(([, root]) => !root.busy);
  if (free.length === 0) return;
  const [name, root] = state.random.pick(free);
  root.busy = true;
  try {
    let expect = root.allowed[0] ?? null;
    if (root.allowed.length > 1) {
      expect = rootValue(await store.roots.get(name));
      if (!root.allowed.includes(expect))
        say({ k: 'bad', what: `root ${name} is ${expect}, not one of its values` });
    }
    say({ k: 'start', op: 'root', name, id });
    await work(name, expect);
    root.allowed = [id];
    say({ k: 'done', op: 'root', name, id });
  } catch (error) {
    root.allowed = [...root.allowed, id];
    say({ k: 'fail', op: 'root', name, id, why: reason(error) });
    complain(say, `root ${name}`, error);
  } finally {
    root.busy = false;
  }
}

async function setRoot(state: State, store: StoreUnderTest, say: Say): Promise<void> {
  const held = takeHeld(state);
  if (held === undefined) return;
  await changeRoot(state, say, held.id, (name, expect) => store.roots.set(name, held.id, { expect }), store);
  held.busy = false;
}

async function deleteRoot(state: State, store: StoreUnderTest, say: Say): Promise<void> {
  await changeRoot(state, say, null, (name) => store.roots.delete(name), store);
}

async function read(state: State, store: StoreUnderTest, say: Say): Promise<void> {
  const held = takeHeld(state);
  if (held === undefined) return;
  try {
    const bytes = await store.get(held.id);
    if (bytes === undefined) say({ k: 'bad', what: `${held.id}, held by ${held.owner}, is gone` });
    else if (createHash('sha256').update(bytes).digest('hex') !== held.id)
      say({ k: 'bad', what: `${held.id} read back as other bytes` });
    // As it lies, to be put so when it is gone.
    else if (!state.pieces.has(held.id)) {
      const pieces = await piecesOf(store, held.id);
      if (pieces !== undefined) state.pieces.set(held.id, pieces);
    }
  } catch (error) {
    complain(say, `get ${held.id.slice(0, 8)}`, error);
  } finally {
    held.busy = false;
  }
}

const argument = process.argv[2];
if (import.meta.main && argument !== undefined) await main(JSON.parse(argument) as Plan | Subject);
