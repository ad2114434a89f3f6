/** How much of a campaign a test runs: a sample, or with HOLDFAST_SAMPLES=full, as CI has it, several times as much. */
export const full: boolean = process.env['HOLDFAST_SAMPLES'] === 'full';

export function sample(inFull: number, otherwise: number): number {
  return full ? inFull : otherwise;
}
