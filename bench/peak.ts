/** Preloaded into a process that is measured from outside: as it ends, it writes down its peak memory. */

/** As JavaScript, or what strips types would be measured as well. */
const program = `
  import { readFileSync, writeFileSync } from 'node:fs';
  import { isMainThread } from 'node:worker_threads';
  const peak = () => {
    try {
      return 1024 * Number(/^VmHWM:\\s*(\\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    } catch {
      return 1024 * process.resourceUsage().maxRSS; // not Linux
    }
  };
  if (isMainThread) process.on('exit', () => writeFileSync(process.env.HOLDFAST_BENCH_PEAK, String(peak())));
`;

/** For `--import`. The process finds the file to write to in HOLDFAST_BENCH_PEAK. */
export const notesPeak: string = `data:text/javascript,${encodeURIComponent(program)}`;
