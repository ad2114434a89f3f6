/** The target of runs of chunks: what is believed of one before it is decoded, and that decoding gives exactly that. */
import {
  type EncodedChunk,
  contentOf,
  decodeRun,
  encodeRun,
  receivedRun,
  runChunksMax,
  runContentMax,
} from '../../engine/codec/chunk-run.ts';
import { chunkCodecs } from '../../engine/codec/chunks.ts';
import { nodeProvider as provider } from '../../engine/providers/node.ts';
import { type Target, promise, refusable, same } from '../target.ts';
import { bytesOf } from './content.ts';

export const chunkRun: Target = {
  name: 'chunk-run',
  valid: (random) => {
    const chunks: EncodedChunk[] = [];
    for (let i = random.below(4); i >= 0; i--) {
      const content = bytesOf(random, 2000);
      if (content.length === 0) continue;
      const bytes = provider.deflate.compress(content, 6);
      const codec = bytes.length < content.length ? chunkCodecs.deflate : chunkCodecs.identity;
      chunks.push({ codec, bytes: codec === 0 ? content : bytes, length: content.length });
    }
    // One at least that makes the whole shorter than its content.
    const zeros = new Uint8Array(3000);
    chunks.push({ codec: chunkCodecs.deflate, bytes: provider.deflate.compress(zeros, 6), length: 3000 });
    return encodeRun(chunks);
  },
  check: (bytes) => {
    const chunks = refusable(['corrupt', 'limit-exceeded'], () => receivedRun(bytes, chunkCodecs.deflate));
    if (chunks === undefined) return 'refused';
    promise(same(encodeRun(chunks), bytes), 'accepted a run that encoding does not give back');
    const length = contentOf(chunks);
    promise(chunks.length <= runChunksMax && length <= runContentMax, 'accepted a run over a limit');
    promise(bytes.length < length, 'accepted a run that is no shorter than its content');
    const content = refusable(['corrupt'], () => decodeRun(provider, chunks));
    if (content === undefined) return 'refused';
    promise(content.length === length, 'content of another length than was believed');
    return 'accepted';
  },
};
