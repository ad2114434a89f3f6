/** The sending role over a connection: the sender's machine with a source behind it. */
import { StoreError } from '../engine/index.ts';
import type { Connection, Incoming } from './connection.ts';
import { Exchange } from './exchange.ts';
import type { PeerMark, PeerRoot, Source } from './peer.ts';
import { difference } from './protocol/difference.ts';
import { nameBytesMax, rootsMax } from './protocol/limits.ts';
import { type AskedRoot, type RootHistory, formNumbers } from './protocol/message.ts';
import { type PlannedRoot, type SendCounts, Sender, type SenderEffect } from './protocol/sender.ts';

export interface SendOptions {
  /** The question, when it was received already. */
  readonly first?: Incoming;
  /** The only roots to give, as they were offered; without it the peer may ask for any. */
  readonly offered?: readonly PeerRoot[];
  readonly signal?: AbortSignal | undefined;
}

export interface SentRoots extends SendCounts {
  readonly roots: readonly { readonly name: string; readonly id: string }[];
}

/** Answers a question for roots. The source was begun by the caller, who also ends it. */
export async function sendRoots(
  connection: Connection,
  source: Source,
  options: SendOptions,
): Promise<SentRoots> {
  const { agreement, sendWindow: window } = connection;
  const machine = new Sender({ window, payloadBytes: agreement.payloadBytes });
  const codecs = agreement.forms.map((form) => formNumbers[form]).filter((codec) => codec !== 0);
  let roots: readonly PlannedRoot[] = [];
  const exchange = new Exchange<SenderEffect, SentRoots>(connection, {
    message: ({ message }) => machine.message(message),
    drain: () => machine.drain(),
    perform(effect) {
      switch (effect.do) {
        case 'send':
          connection.send(effect.message, effect.payload);
          return undefined;
        case 'find':
          exchange.later(async () => {
            roots = await findRoots(source, effect.ask, options.offered);
            machine.found(roots.map((root) => ({ ...root, name: spokenName(source, root.name) })));
          });
          return undefined;
        case 'read': {
          const { read } = effect;
          exchange.later(async () => {
            const reading = source.read(read.id, read.offset, read.length, codecs);
            machine.read(read, await (roots.length === 0 ? reading.catch(unreadable) : reading));
          });
          return undefined;
        }
        case 'finish':
          return { ...effect.counts, roots: roots.map(({ name, id }) => ({ name, id: id! })) };
      }
    },
  });
  if (options.first !== undefined) machine.message(options.first.message);
  return await exchange.run(options.signal);
}

/** Who asks for single blobs gets those that can be read. Towards a root one that cannot is told as what it is. */
function unreadable(error: unknown): undefined {
  if (!StoreError.is(error, 'corrupt') && !StoreError.is(error, 'unavailable')) throw error;
}

async function findRoots(
  source: Source,
  ask: { readonly all: boolean; readonly roots: readonly AskedRoot[] },
  offered: readonly PeerRoot[] | undefined,
): Promise<PlannedRoot[]> {
  const names = ask.roots.map(({ name }) => name);
  if (offered !== undefined && (ask.all || names.some((name) => !offered.some((root) => root.name === name))))
    throw new StoreError('forbidden', 'the peer asks for roots that were not offered');
  const found = offered ?? (await source.roots(ask.all ? undefined : names));
  if (found.length > rootsMax)
    throw new StoreError(
      'limit-exceeded',
      `there are ${found.length} roots, more than one transfer takes; ask for them by name`,
    );
  const wanted = ask.all ? found.map(({ name }) => name) : names;
  const asked = new Map(ask.roots.map((root) => [root.name, root]));
  const byName = new Map(found.map((root) => [root.name, root]));
  const history = await lookBack(
    source,
    wanted.flatMap((name) => byName.get(name) ?? []),
    asked,
  );
  return await Promise.all(
    wanted.map(async (name) => {
      const root = byName.get(name);
      const told = { history: history.get(name) ?? { sequence: 0, seen: [] } };
      if (root === undefined) return { name, id: null, kind: 'raw' as const, base: null, ...told, items: [] };
      return { ...root, ...told, ...(await plan(source, root, asked.get(name)?.haves ?? [])) };
    }),
  );
}

/**
 * When each root became what it is, and was last what the peer has seen of it: one walk of the log for all of them, and none where all
 * are what the peer names first, which is what it has.
 */
async function lookBack(
  source: Source,
  roots: readonly PeerRoot[],
  asked: ReadonlyMap<string, AskedRoot>,
): Promise<Map<string, RootHistory>> {
  const seenOf = (name: string): readonly string[] => asked.get(name)?.seen ?? [];
  const questions = roots.flatMap(({ name, id }): PeerMark[] =>
    seenOf(name)[0] === id ? [] : [id, ...seenOf(name)].map((one) => ({ name, id: one })),
  );
  const answers = questions.length === 0 ? [] : await source.changes(questions);
  const told = new Map(questions.map(({ name, id }, i) => [`${name}\0${id}`, answers[i]!]));
  const of = (name: string, id: string): number => told.get(`${name}\0${id}`) ?? 0;
  return new Map(
    roots.map(({ name, id }) => [
      name,
      { sequence: of(name, id), seen: seenOf(name).map((one) => of(name, one)) },
    ]),
  );
}

/** What follows unasked: the difference to the first of the nodes named that is known here. */
async function plan(
  source: Source,
  root: PeerRoot,
  haves: readonly string[],
): Promise<Pick<PlannedRoot, 'base' | 'items'>> {
  if (root.kind === 'raw' || haves.includes(root.id)) return { base: null, items: [] };
  for (const base of haves) {
    const items = await difference(root.id, base, (ids) => source.links(ids));
    if (items !== undefined) return { base, items };
  }
  return { base: null, items: [] };
}

/** What a root is called on the wire. `limit-exceeded` where that is too long, as sealed names may be. */
export function spokenName(source: Source, name: string): string {
  const spoken = source.spoken?.(name) ?? name;
  if (spoken !== name && spoken.length > nameBytesMax)
    throw new StoreError('limit-exceeded', `the name of root ${name} is too long to travel sealed`, {
      root: name,
    });
  return spoken;
}
