/** `holdfast health DIR`: whether every byte was verified lately, and what else is not as it should be. */
import type { ScrubRecord, StoreHealth } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { showBytes, showCopies, showCount, showSeconds, showTime } from './units.ts';
import { type Verb, brief, withReadableStore } from './verb.ts';

export const health: Verb = {
  keyless: true,
  define: (program) =>
    program
      .command('health')
      .description('whether every byte was verified lately, and what else is wrong')
      .argument('<dir>', 'the store')
      .option(
        '--days <days>',
        'the promise: everything is verified within so many days (default: as scheduled, else 30)',
      ),
  async run(context, [directory], options) {
    const { output } = context;
    const given = options['days'] === undefined ? {} : { days: Number(options['days']) };
    if (given.days !== undefined && !(given.days > 0))
      throw new UsageError(`not a number of days: ${JSON.stringify(options['days'])}`);
    const found = await withReadableStore(directory!, context, (store) => store.health(given), brief);
    for (const reason of found.reasons) output.note(`${found.state}: ${reason}`);
    for (const [name, value] of rowsOf(found)) await output.line(`${name.padEnd(13)} ${value}`);
    await output.result(found);
    if (found.state === 'damage') return exitCodes.damage;
    return found.state === 'fine' ? exitCodes.fine : exitCodes.unavailable;
  },
};

function rowsOf(found: StoreHealth): (readonly [string, string])[] {
  const { promise, scrubs, temporary } = found;
  const { overdue, untilMs, oldestMs, fullScrubMs } = promise;
  const until = untilMs === undefined ? '' : `, until ${showTime(untilMs)}`;
  const kept = promise.kept
    ? `kept${until}`
    : `broken: ${showCount(overdue.blobs, 'blob')}, ${showBytes(overdue.bytes)} waited longer`;
  return [
    ['state', found.state],
    ['promise', `everything verified within ${promise.days} days: ${kept}`],
    ...(oldestMs === undefined ? [] : [['oldest', `verified or stored ${showTime(oldestMs)}`] as const]),
    ['last scrub', scrubs[0] === undefined ? 'never' : showScrub(scrubs[0], found.copies)],
    ...(fullScrubMs === undefined
      ? []
      : [['full scrub', `about ${showSeconds(fullScrubMs / 1000)}`] as const]),
    ['suspect', showCount(found.suspect, 'blob')],
    ['copies', `${showCount(found.missingCopies, 'blob')} with fewer than wanted`],
    ['catalog log', showBytes(found.walBytes)],
    ['temporary', `${showCount(temporary.files, 'file')}, ${showBytes(temporary.bytes)}`],
    ['free on disk', showBytes(found.freeBytes)],
  ];
}

function showScrub(
  { begunMs, endedMs, blobs, bytes, damaged, complete }: ScrubRecord,
  copies: number,
): string {
  if (endedMs === undefined) return `${showTime(begunMs)}, running or killed`;
  const how = complete ? '' : ', not through';
  const bad = damaged === 0 ? 'no damage' : `${damaged} damaged`;
  return `${showTime(begunMs)}${how}: ${showCopies(blobs, copies)}, ${showBytes(bytes)}, ${bad}`;
}
