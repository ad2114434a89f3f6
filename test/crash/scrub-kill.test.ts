// Scrubs that die at random moments: what was verified stays so, no copy is verified twice before all were once, nothing is lost.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { openStore } from '../../engine/index.ts';
import { seededBytes, seededRandom } from './random.ts';
import { freshFolder } from './recorded-run.ts';

const skip = process.platform === 'win32' ? 'NOT RUN, Windows has no SIGKILL that spares nothing' : false;
const seed = Number(process.env['HOLDFAST_SEED'] ?? 1);
const kills = Number(process.env['HOLDFAST_KILLS'] ?? 2);
const script = fileURLToPath(new URL('./scrubber.ts', import.meta.url));
/** A volume is a range of a scrub, so there are eight of them, and one of files. */
const parameters = { smallMax: 16_384, extentBytes: 16_384, chunkBytes: 4096, volumeBytesMax: 1024 * 1024 };
const blobs = 600;
const bytesOf = (n: number): number => (n % 20 === 0 ? 40_000 : 9_000 + 10 * n);
/** A scrub takes a little over a second. */
const rate = 6_000_000;

/** When each copy was verified last, by blob; nothing opens the store for it. */
function verifiedIn(path: string): Map<number, number> {
  const db = new Database(join(path, 'index.db'), { readonly: true });
  try {
    const rows = db.prepare('SELECT blob, at FROM verified').raw().all() as [number, number][];
    return new Map(rows);
  } finally {
    db.close();
  }
}

test('scrubs die, and each goes on where the one before was', { skip }, async (t) => {
  const folder = freshFolder('scrub-kill');
  const path = join(folder, 'store');
  const contents = Array.from({ length: blobs }, (_, n) => seededBytes(seed * 1000 + n, bytesOf(n)));
  const store = await openStore(path, { parameters, threads: { count: 0 } });
  // One after another, so that volumes are filled and the next one is begun.
  const ids: string[] = [];
  for (let at = 0; at < blobs; at += 60)
    for (const { id } of await Promise.all(
      contents.slice(at, at + 60).map((bytes) => store.put(bytes, { owner: 'x' })),
    ))
      ids.push(id);
  await store.close();
  assert.equal(verifiedIn(path).size, 0);

  const random = seededRandom(seed, 5);
  let known = verifiedIn(path);
  let inTheMiddle = 0;
  const outcomes: string[] = [];
  for (let kill = 0; kill < kills; kill++) {
    // The third range has begun by then, so the first is settled.
    const until = 2_500_000 + random.below(2_000_000);
    const child = spawn(process.execPath, [script, path, String(rate), String(until)], { stdio: 'inherit' });
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    outcomes.push(signal ?? 'through');
    const now = verifiedIn(path);
    for (const [blob, at] of known) assert.ok((now.get(blob) ?? 0) >= at, 'what was verified stays so');
    const again = [...known].filter(([blob, at]) => now.get(blob) !== at);
    if (known.size < blobs && now.size < blobs)
      assert.deepEqual(again, [], `${again.length} copies twice before all once`);
    if (now.size > known.size && now.size < blobs) inTheMiddle++;
    known = now;
  }
  t.diagnostic(`seed ${seed}: ${outcomes.join(', ')}; ${inTheMiddle} in the middle`);
  assert.ok(inTheMiddle > 0, 'no kill came in the middle of a scrub');
  const last = await openStore(path, { mode: 'open', threads: { count: 0 } });
  for (const [n, id] of ids.entries())
    assert.deepEqual(Buffer.from((await last.get(id))!), Buffer.from(contents[n]!));
  const { damaged, badRows, adopted, recounted } = await last.scrub();
  assert.deepEqual([damaged, badRows, adopted, recounted], [[], 0, 0, 0]);
  await last.close();
  assert.equal(verifiedIn(path).size, blobs);
  rmSync(folder, { recursive: true, force: true });
});
