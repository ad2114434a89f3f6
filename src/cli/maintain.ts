/** `holdfast maintain DIR`: what is due of collection, scrub and compaction, in one call; for cron and systemd. */
import type { MaintainResult, MaintenanceJob } from '../index.ts';
import { type DamageReport, showLog, tellDamage, withPaths } from './damage-report.ts';
import type { Output } from './output.ts';
import { parseCap, showEvicted, withCapOptions } from './cap.ts';
import { Progress } from './progress.ts';
import { UsageError, exitCodes } from './exit.ts';
import { parseBytes, parseDuration, showBytes, showCopies, showCount } from './units.ts';
import { type Verb, isLocked, withStore } from './verb.ts';

export const maintain: Verb = {
  keyless: true,
  define: (program) =>
    withCapOptions(program.command('maintain'))
      .description("do what is due: gc, a scrub's share, compact; without a schedule all of it")
      .argument('<dir>', 'the store')
      .option('--time-box <duration>', 'stop after 90s, 10m or 6h; the next call goes on')
      .option('--rate <size>', 'read at most so much a second: 50MB')
      .option(
        '--grace <duration>',
        'gc leaves alone what lost its last reference less than this ago (default: 24h)',
      )
      .option('--days <days>', 'everything is to be verified within so many days (default: 30)'),
  async run(context, [directory], options) {
    const { output, signal } = context;
    const { timeBox, rate, days, grace } = options;
    const cap = parseCap(options);
    if (days !== undefined && !(Number(days) > 0))
      throw new UsageError(`not a number of days: ${JSON.stringify(days)}`);
    const progress = new Progress(output, 'scrub', 'blob');
    const result = await withStore(directory!, context, async (store): Promise<Told> => {
      const done = await store.maintain({
        signal,
        ...cap,
        ...(grace === undefined ? {} : { graceMs: parseDuration(String(grace)) }),
        ...(timeBox === undefined ? {} : { timeBoxMs: parseDuration(String(timeBox)) }),
        ...(rate === undefined ? {} : { rate: parseBytes(String(rate)) }),
        ...(days === undefined ? {} : { days: Number(days) }),
        onProgress: ({ blobs, bytes, totalBlobs, totalBytes }) =>
          progress.update({ files: blobs, bytes, totalFiles: totalBlobs, totalBytes }),
      });
      const { scrub, ...rest } = done;
      if (scrub === undefined) return rest;
      const verified = isLocked(store, context) ? ('stored-bytes' as const) : ('content' as const);
      const [damaged, unreadable] = [
        await withPaths(store, scrub.damaged),
        await withPaths(store, scrub.unreadable),
      ];
      const { copies } = await store.stats();
      return { ...rest, scrub: { ...scrub, copies, verified, damaged, unreadable } };
    }).finally(() => progress.end());
    await tell(output, result);
    await output.result(result);
    return exitOf(result);
  },
};

type Told = Omit<MaintainResult, 'scrub'> & {
  readonly scrub?: Omit<NonNullable<MaintainResult['scrub']>, 'damaged' | 'unreadable'> & {
    readonly damaged: readonly DamageReport[];
    readonly unreadable: readonly DamageReport[];
    /** On how many members each blob is to be kept. */
    readonly copies: number;
    /** Without keys only what is stored was. */
    readonly verified: 'content' | 'stored-bytes';
  };
};

async function tell(output: Output, { gc, scrub, compact, skipped, walBytes }: Told): Promise<void> {
  if (gc !== undefined) {
    await row('gc', `freed ${showCount(gc.deleted, 'blob')}, ${showBytes(gc.freedBytes)}`);
    if (gc.evicted !== undefined) await row('cap', showEvicted(gc.evicted));
    if (gc.blocked !== undefined) output.note(`holdfast: nothing more was freed: ${gc.blocked}`);
  }
  if (scrub !== undefined) {
    for (const found of scrub.damaged) tellDamage(output, found);
    for (const found of scrub.unreadable) tellDamage(output, found, 'cannot be read');
    if (scrub.rootLog !== undefined) output.note(showLog(scrub.rootLog));
    for (const one of scrub.away) output.note(`holdfast: ${one}`);
    const { blobs, copies, bytes, damaged, healed, missingCopies, unreachable, verified } = scrub;
    const what = verified === 'content' ? '' : 'of stored bytes ';
    const bad = damaged.length === 0 ? 'no damage' : `${showCount(damaged.length, 'blob')} damaged`;
    const made = healed === 0 ? '' : `, ${showCount(healed, 'copy', 'copies')} made anew`;
    const lacks = missingCopies === 0 ? '' : `, ${showCount(missingCopies, 'blob')} with fewer copies`;
    const unread = unreachable === 0 ? '' : `, nothing can be said of ${showCount(unreachable, 'blob')}`;
    await row(
      'scrub',
      `${showCopies(blobs, copies)}, ${showBytes(bytes)} ${what}verified: ${bad}${made}${lacks}${unread}`,
    );
  }
  if (compact !== undefined)
    await row(
      'compact',
      `${showCount(compact.volumes, 'volume')} emptied, ${showBytes(compact.bytes)} moved`,
    );
  for (const { job, why, message } of skipped) {
    if (why === 'failed') output.note(`holdfast: ${job} failed: ${message ?? 'nobody knows why'}`);
    else await row(job, said[why]);
  }
  await row('catalog log', showBytes(walBytes));

  async function row(name: MaintenanceJob | 'cap' | 'catalog log', what: string): Promise<void> {
    await output.line(`${name.padEnd(13)} ${what}`);
  }
}

const said = {
  'not-due': 'not due, or not scheduled',
  'out-of-time': 'out of time',
  'running-elsewhere': 'another process runs it',
} as const;

/** Damage before all, as of a scrub; then what failed or stands still; then copies that lack or cannot be read. */
function exitOf({ gc, scrub, skipped }: Told): number {
  if (scrub !== undefined && (scrub.damaged.length + scrub.badRows > 0 || scrub.rootLog !== undefined))
    return exitCodes.damage;
  if (skipped.some(({ why }) => why === 'failed') || gc?.blocked !== undefined) return exitCodes.failed;
  return scrub !== undefined && scrub.missingCopies + scrub.unreachable > 0
    ? exitCodes.unavailable
    : exitCodes.fine;
}
