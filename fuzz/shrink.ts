/** Makes what fails smaller, as long as it fails in the same way. */

/** Leaves out pieces of a list, large ones first; `fails` is asked at most `triesMax` times. */
export async function shrinkList<Item>(
  items: readonly Item[],
  fails: (items: readonly Item[]) => Promise<boolean>,
  triesMax: number,
): Promise<readonly Item[]> {
  let best = items;
  let tries = 0;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let again = true; again;) {
      again = false;
      for (let end = best.length; end > 0; end -= size) {
        if (tries++ >= triesMax) return best;
        const start = Math.max(0, end - size);
        const smaller = [...best.slice(0, start), ...best.slice(end)];
        if (smaller.length === best.length || !(await fails(smaller))) continue;
        best = smaller;
        again = size === 1;
      }
    }
  }
  return best;
}

/** Drops bytes, then makes what is left 0 where it can be. */
export async function shrinkBytes(
  bytes: Uint8Array,
  fails: (bytes: Uint8Array) => Promise<boolean>,
  triesMax: number,
): Promise<Uint8Array> {
  const kept = await shrinkList([...bytes], (items) => fails(Uint8Array.from(items)), triesMax);
  const best = Uint8Array.from(kept);
  for (let at = 0; at < Math.min(best.length, triesMax); at++) {
    const byte = best[at]!;
    if (byte === 0) continue;
    best[at] = 0;
    if (!(await fails(best))) best[at] = byte;
  }
  return best;
}

/** What two failures have in common when only their numbers and ids differ. */
export function signatureOf(message: string): string {
  return message
    .replaceAll(/[0-9a-f]{16,}/g, '#')
    .replaceAll(/\d+/g, '#')
    .slice(0, 120);
}
