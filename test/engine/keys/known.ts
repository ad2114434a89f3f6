/** Files that everybody knows, by number; and the search for any trace of them in a folder. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Secret } from '../../../engine/index.ts';
import { noise } from '../store-folder.ts';
import { filesOf } from './forger.ts';

export const secret: Secret = { kind: 'raw-key', key: new Uint8Array(32).fill(0x51) };

export function nameOf(i: number): string {
  return `a known name, number ${i}`;
}

/** Noise, or words that compress; most of them small. */
export function contentOf(i: number): Uint8Array {
  const size = i % 12 === 0 ? 17_000 + i : i % 40 === 5 ? 90_000 + i : 40 + (i % 900);
  if (i % 3 !== 0) return noise(size, 1000 + i);
  const words = Buffer.from(`known words of file ${i}, said again and again. `);
  return Buffer.alloc(size, words);
}

const needleBytes = 16;
const bits = 2 ** 24;

/** Finds needles of 16 bytes in files: a bitmap of what they begin with first, then the needles themselves. */
export class Search {
  readonly #needles = new Map<string, string>();
  readonly #begins = new Uint8Array(bits / 8);

  /** The first 16 bytes of something that must not be found; `what` is told when it is. */
  add(bytes: Uint8Array, what: string): void {
    if (bytes.length < needleBytes) return;
    const needle = Buffer.from(bytes.subarray(0, needleBytes));
    this.#needles.set(needle.toString('latin1'), what);
    const at = placeOf(needle.readUInt32LE(0));
    this.#begins[at >> 3]! |= 1 << (at & 7);
  }

  /** All that is known of a file: its id as bytes and as text, samples of its content, its name. */
  addFile(i: number): void {
    const content = contentOf(i);
    const id = createHash('sha256').update(content).digest();
    this.add(id, `id of file ${i}`);
    this.add(Buffer.from(id.toString('hex')), `id of file ${i} as text`);
    this.add(Buffer.from(id.toString('hex').toUpperCase()), `id of file ${i} as text`);
    this.add(Buffer.from(id.toString('base64')), `id of file ${i} as text`);
    for (const at of [0, content.length >> 1, content.length - needleBytes, 4096])
      this.add(content.subarray(Math.max(0, at)), `content of file ${i}`);
    // The last digits tell them apart, and the first words all of them.
    for (const what of ['owner ', 'root ', 'table ', 'key '])
      this.add(Buffer.from(what + nameOf(i)), `name ${i}`);
    this.add(Buffer.from(nameOf(i)), `name ${i}`);
  }

  /** What was found, and where; and how many bytes were looked at. */
  in(root: string): { found: string[]; bytes: number } {
    const found: string[] = [];
    let total = 0;
    for (const path of filesOf(root)) {
      if (path === 'ballast') continue;
      if (this.#isNeedle(Buffer.from(path))) found.push(path);
      let bytes: Buffer;
      try {
        bytes = readFileSync(join(root, path));
      } catch {
        continue; // a temp that is gone by now
      }
      total += bytes.length;
      for (let at = 0; at + needleBytes <= bytes.length; at++) {
        const place = placeOf(
          bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24),
        );
        if ((this.#begins[place >> 3]! & (1 << (place & 7))) === 0) continue;
        const what = this.#needles.get(bytes.toString('latin1', at, at + needleBytes));
        if (what !== undefined) found.push(`${what} in ${path} at ${at}`);
      }
    }
    return { found, bytes: total };
  }

  #isNeedle(path: Buffer): boolean {
    const text = path.toString('latin1');
    return [...this.#needles.keys()].some((needle) => text.includes(needle));
  }
}

function placeOf(word: number): number {
  return Math.imul(word, 0x9e37_79b1) >>> 8;
}
