/** Compares what lies in the flat bytes of listings, in place: names that end with a 0 byte, and records. */

/** Where the name that begins at `at` ends. */
export function nameEnd(names: Uint8Array, at: number): number {
  let end = at;
  while (end < names.length && names[end] !== 0) end++;
  return end;
}

/** The order of two names by their bytes: below 0, 0, above 0. */
export function compareNames(a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  for (let i = 0; ; i++) {
    // The 0 at the end is below every byte that a name has.
    const [x, y] = [a[atA + i] ?? 0, b[atB + i] ?? 0];
    if (x !== y || x === 0) return x - y;
  }
}

/** Whether `length` bytes are the same in both. */
export function equalAt(a: Uint8Array, atA: number, b: Uint8Array, atB: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}
