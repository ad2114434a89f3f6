/** The receiving role over a connection: the receiver's machine with a sink behind it. */
import { decodeRun } from '../engine/codec/chunk-run.ts';
import { StoreError, nodeProvider } from '../engine/index.ts';
import { Exchange, type Wire } from './exchange.ts';
import type { Sink, SinkState, ToldRoot } from './peer.ts';
import type { ReceiveWindow } from './protocol/credit.ts';
import { keysMax, nodeObjectBytesMax } from './protocol/limits.ts';
import type { AskedRoot, BlobForm } from './protocol/message.ts';
import { Receiver } from './protocol/receiver.ts';
import type { ReceiveCounts, ReceiverEffect } from './protocol/receiver-effects.ts';

/** What may come in one transfer at most. */
export interface Quota {
  readonly blobs: number;
  readonly bytes: number;
}

export interface ReceiveOptions {
  readonly ask: { readonly all: boolean; readonly roots: readonly AskedRoot[] };
  /** What the peer has offered, where it has. */
  readonly offered?: ReadonlyMap<string, string> | undefined;
  /** Nothing can be asked for: all comes by itself. */
  readonly unasked?: boolean;
  readonly state: SinkState;
  /** Judges what the peer tells of its roots; rejects where one would go back. */
  readonly judge?: (roots: readonly ToldRoot[]) => Promise<void>;
  readonly quota: Quota;
  readonly sha256Hex: (bytes: Uint8Array) => string;
  readonly onProgress?: ((progress: { readonly blobs: number; readonly bytes: number }) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What is agreed with whoever sends. */
export interface Intake {
  readonly receiveWindow: ReceiveWindow;
  /** Whether blobs may come in a form. */
  takes(form: BlobForm): boolean;
}

/** Asks for roots and takes them in. The sink was begun by the caller, who also ends it. */
export async function receiveRoots(
  connection: Wire & Intake,
  sink: Sink,
  options: ReceiveOptions,
): Promise<ReceiveCounts> {
  const { ask, quota, sha256Hex, onProgress } = options;
  const { current, partials } = options.state;
  const machine = new Receiver({
    ask,
    ...(options.offered === undefined ? {} : { offered: options.offered }),
    ...(options.unasked === true ? { unasked: true } : {}),
    judged: options.judge !== undefined,
    current,
    partials,
    quota,
    sha256Hex,
    linksOf: sink.linksOf,
    ...(sink.linksOf === undefined ? {} : { nodeBytesMax: nodeObjectBytesMax }),
    takes: (form) => connection.takes(form),
    decode: (chunks) => decodeRun(nodeProvider, chunks),
    window: connection.receiveWindow,
  });
  let keys = 0;
  const progress = { blobs: 0, bytes: 0 };
  const count = (blobs: number, bytes: number): void => {
    progress.blobs += blobs;
    progress.bytes += bytes;
    onProgress?.(progress);
  };

  const exchange = new Exchange<ReceiverEffect, ReceiveCounts>(connection, {
    message({ message, payload }) {
      if (message.type !== 'keys' || sink.takeKeys === undefined) {
        machine.message(sink.heard?.(message) ?? message, payload);
        return;
      }
      if (++keys > keysMax) throw new StoreError('limit-exceeded', 'the peer sends keys without end');
      exchange.later(() => sink.takeKeys!(message.file));
    },
    drain: () => machine.drain(),
    perform: (effect) => perform(effect),
  });

  const perform = (effect: ReceiverEffect): ReceiveCounts | undefined => {
    switch (effect.do) {
      case 'send':
        connection.send(effect.message);
        return undefined;
      case 'check':
        exchange.later(async () => machine.checked(effect.links, await sink.has(effect.links)));
        return undefined;
      case 'judge':
        exchange.later(async () => {
          await options.judge?.(effect.roots);
          machine.judged();
        });
        return undefined;
      case 'write': {
        const { piece } = effect;
        exchange.later(async () => {
          await sink.write(piece);
          machine.taken(piece.bytes);
          connection.recycle(piece.bytes);
        });
        if (piece.offset + piece.length === piece.size)
          exchange.later(async () => {
            if (await sink.written(piece.id)) {
              count(1, piece.length);
              machine.stored({ kind: 'raw', id: piece.id });
            } else machine.unfit(piece.id);
          });
        else count(0, piece.length);
        return undefined;
      }
      case 'store-node': {
        const { link, bytes } = effect;
        exchange.later(async () => {
          const isNode = link.kind === 'node';
          if (await (isNode ? sink.putNode(link.id, bytes) : sink.putManifest!(link.id, bytes))) {
            count(1, isNode ? bytes.length : 0);
            machine.stored(link);
          } else machine.refused(link);
        });
        return undefined;
      }
      case 'set-root': {
        const { root, target } = effect;
        exchange.later(async () => {
          if (await sink.setRoot(target.name, target.id)) machine.rootSet(root);
          else machine.rootRefused(root);
        });
        return undefined;
      }
      case 'finish':
        return effect.counts;
    }
  };
  return await exchange.run(options.signal);
}
