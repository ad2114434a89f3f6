/** Padmé: rounds lengths up so that they tell little, at a price of at most 12 %. */

/**
 * The padded length of `bytes`. Lengths up to L leak O(log log L) bits instead of O(log L).
 * Nikitin, Barman, Lueks, Underwood, Hubaux, Ford: "Reducing Metadata Leakage from Encrypted Files and
 * Communication with PURBs", PoPETs 2019, algorithm 1.
 */
export function padme(bytes: number): number {
  if (bytes < 2) return bytes;
  const exponent = floorLog2(bytes);
  const kept = floorLog2(exponent) + 1;
  // Arithmetic instead of a bit mask: lengths pass 2^32.
  const step = 2 ** Math.max(0, exponent - kept);
  return Math.ceil(bytes / step) * step;
}

/** Exact, where Math.log2 may round up just below a power of two. */
function floorLog2(value: number): number {
  let log = 0;
  for (let rest = value; rest >= 2; rest = Math.floor(rest / 2)) log++;
  return log;
}
