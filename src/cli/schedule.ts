/** `holdfast schedule DIR`: tells, sets or removes what upkeep runs by itself where an application has the store open. */
import type { Schedule, ScheduleOptions, ScrubSchedule } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { parseBytes, parseDuration, showTime } from './units.ts';
import { type Verb, brief, withReadableStore, withStore } from './verb.ts';

export const schedule: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('schedule')
      .description('tell, or set as a whole, when upkeep runs by itself in applications and by "maintain"')
      .argument('<dir>', 'the store')
      .option('--gc <cron>', 'collect: "0 3 * * *"')
      .option('--scrub <cron>', 'verify a share of the store: "0 4 * * *"')
      .option('--compact <cron>', 'give the space of dead small blobs back: "0 5 1 * *"')
      .option('--days <days>', 'scrub: everything within so many days (default: 30)')
      .option('--rate <size>', 'scrub: read at most so much a second: 50MB')
      .option('--time-box <duration>', 'scrub: stop after so long: 1h')
      .option('--hours <from-to>', 'scrub: only in these hours of the day: 22-6')
      .option('--idle <duration>', 'only while the application has not put or read for so long: 5m')
      .option('--remove', 'nothing runs by itself any more'),
  async run(context, [directory], options) {
    const { output } = context;
    const wanted = wantedBy(options);
    const found =
      wanted === undefined
        ? await withReadableStore(directory!, context, (store) => store.schedule(), brief)
        : await withStore(directory!, context, (store) => store.schedule(wanted), brief);
    for (const [name, value] of rowsOf(found)) await output.line(`${name.padEnd(13)} ${value}`);
    await output.result(found ?? { options: {}, jobs: [] });
    return exitCodes.fine;
  },
};

/** Undefined: tell. Null: remove. */
function wantedBy(options: Readonly<Record<string, unknown>>): ScheduleOptions | null | undefined {
  const { gc, scrub, compact, days, rate, timeBox, hours, idle, remove } = options;
  const given = [gc, scrub, compact, days, rate, timeBox, hours, idle].some((value) => value !== undefined);
  if (remove === true) {
    if (given) throw new UsageError('--remove goes with nothing else');
    return null;
  }
  if (!given) return undefined;
  const ofScrub = [days, rate, timeBox, hours].some((value) => value !== undefined);
  if (scrub === undefined && ofScrub)
    throw new UsageError('--days, --rate, --time-box and --hours belong to --scrub');
  return {
    ...(gc === undefined ? {} : { gc: { cron: String(gc) } }),
    ...(scrub === undefined ? {} : { scrub: scrubBy(String(scrub), options) }),
    ...(compact === undefined ? {} : { compact: { cron: String(compact) } }),
    ...(idle === undefined ? {} : { idleMs: parseDuration(String(idle)) }),
  };
}

function scrubBy(
  cron: string,
  { days, rate, timeBox, hours }: Readonly<Record<string, unknown>>,
): ScrubSchedule {
  return {
    cron,
    ...(days === undefined ? {} : { days: Number(days) }),
    ...(rate === undefined ? {} : { rate: parseBytes(String(rate)) }),
    ...(timeBox === undefined ? {} : { timeBoxMs: parseDuration(String(timeBox)) }),
    ...(hours === undefined ? {} : { hours: parseHours(String(hours)) }),
  };
}

function parseHours(text: string): { readonly from: number; readonly to: number } {
  const match = /^(\d{1,2})-(\d{1,2})$/.exec(text);
  if (match === null) throw new UsageError(`not hours: ${JSON.stringify(text)}; write 22-6`);
  return { from: Number(match[1]), to: Number(match[2]) };
}

function rowsOf(found: Schedule | undefined): (readonly [string, string])[] {
  if (found === undefined) return [['schedule', 'none']];
  const { options, jobs } = found;
  return [
    ...jobs.map(({ job, nextMs, lastMs }) => {
      const last = lastMs === undefined ? 'never ran' : `last ${showTime(lastMs)}`;
      return [job, `${options[job]!.cron}   next ${showTime(nextMs)}, ${last}`] as const;
    }),
    ...(options.idleMs === undefined ? [] : [['idle for', `${options.idleMs / 1000} s`] as const]),
  ];
}
