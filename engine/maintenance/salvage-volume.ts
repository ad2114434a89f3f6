/** Copies what can still be read of a damaged SQLite volume into a fresh one. */
import { salvageRecords } from '../codec/salvage.ts';
import { isDamage } from '../content/damage.ts';
import { type VerifiedRecord, verifyRecord } from '../content/verify-content.ts';
import type { Part } from '../volume.ts';
import { toHex } from '../codec/bytes.ts';
import { type RebuildContext, inSlices } from './rebuild-context.ts';
import type { VolumeFile } from './rebuild-members.ts';
import { type Copy, recordCopy, tally, takeCopy } from './rebuild-scan.ts';

/** Records that are appended together. */
const batchBytes = 1024 * 1024;

/** Records of blobs that have a good copy elsewhere stay behind. What a mirrored group lacks then, a scrub makes. */
export async function salvageVolume(context: RebuildContext, volume: VolumeFile): Promise<void> {
  const { host, volumes, report, catalog } = context;
  const file = host.files.open(volume.path, 'read');
  try {
    const buffer = { bytes: new Uint8Array(64 * 1024) };
    const read = (position: number, length: number): Uint8Array => {
      if (buffer.bytes.length < length) buffer.bytes = new Uint8Array(length);
      const bytes = buffer.bytes.subarray(0, length);
      return bytes.subarray(0, file.read(bytes, position));
    };
    const tell = tally(context);
    const found = salvageRecords(context.provider, read, file.facts().size);
    await inSlices(context, batches(context, found), (transaction, batch) => {
      const wanted = batch.filter(({ record: { head } }) => {
        const standing = catalog.blobs.inspect(head.id)?.row;
        return standing === undefined || standing.kind < (head.kind === 'node' ? 1 : 0);
      });
      if (wanted.length === 0) return;
      const { volume: n, locators } = volumes.append(
        transaction,
        wanted.map(({ part }) => part),
      );
      wanted.forEach(({ record }, i) => {
        const { extent, offset: start } = locators[i]!;
        const copy: Copy = { ...recordCopy(context, record), volume: n, extent, start };
        takeCopy(transaction, context, copy);
        report.salvaged++;
        tell(copy.size);
      });
    });
  } finally {
    file.close();
  }
}

interface Salvaged {
  readonly part: Part;
  readonly record: VerifiedRecord;
}

/** Verified records, each once in its batch, with bytes of their own. */
function* batches(
  context: RebuildContext,
  found: ReturnType<typeof salvageRecords>,
): Generator<readonly Salvaged[]> {
  let batch = new Map<string, Salvaged>();
  let size = 0;
  for (const { bytes } of found) {
    const own = bytes.slice();
    const record = verified(() => verifyRecord(context, own));
    if (record === undefined) continue;
    const id = toHex(record.head.id);
    const known = batch.get(id);
    if (known !== undefined && (known.record.head.kind === 'node' || record.head.kind === 'raw')) continue;
    batch.set(id, { record, part: { name: { id, incarnation: record.head.incarnation }, bytes: own } });
    size += own.length;
    if (size < batchBytes) continue;
    yield [...batch.values()];
    batch = new Map();
    size = 0;
  }
  yield [...batch.values()];
}

function verified(verify: () => VerifiedRecord): VerifiedRecord | undefined {
  try {
    return verify();
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}
