/** What `npm start` does: takes its arguments, runs the rehearsal in temporary folders, prints a table. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { UsageError, exitCodes, toldError } from './exit.ts';
import { Output } from './output.ts';
import { type Rehearsal, type Step, rehearse } from './rehearsal.ts';
import { makeSample } from './sample.ts';
import { onStop } from './stop.ts';
import { TemporaryFolders } from './temporary.ts';
import { showBytes, showCount, showRate, showSeconds } from './units.ts';

/** Resolves to the exit code: 0 only if everything came back identical and the store is sound. */
export async function show(argv: readonly string[]): Promise<number> {
  const output = new Output('people');
  const stop = onStop();
  const temporary = new TemporaryFolders();
  try {
    const { folder, store } = parse(argv);
    const source = folder ?? join(await temporary.make('sample'), 'library');
    if (folder === undefined) await sample(output, source);
    else if (!(await stat(folder).catch(() => undefined))) throw new UsageError(`there is no ${folder}`);
    const plan = {
      source,
      store: store ?? join(await temporary.make('store'), 'store'),
      out: join(await temporary.make('restored'), 'out'),
      replica: join(await temporary.make('replica'), 'store'),
      replicaOut: join(await temporary.make('restored'), 'out'),
      output,
      signal: stop.signal,
    };
    return await report(output, await rehearse(plan), store);
  } catch (error) {
    const { code, message, exit } = toldError(error);
    output.note(`holdfast: ${message} (${code})`);
    if (code === 'internal' && error instanceof Error) output.note(error.stack ?? '');
    return exit;
  } finally {
    await temporary.remove();
    stop.end();
  }
}

function parse(argv: readonly string[]): {
  readonly folder: string | undefined;
  readonly store: string | undefined;
} {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { store: { type: 'string' } },
      allowPositionals: true,
    });
    if (positionals.length > 1) throw new Error('one folder at most');
    return { folder: positionals[0], store: values.store };
  } catch (error) {
    throw new UsageError(
      `${error instanceof Error ? error.message : String(error)}; usage: npm start -- [folder] [--store DIR]`,
    );
  }
}

async function sample(output: Output, folder: string): Promise<void> {
  output.note('No folder was given, so here is a small sample library. Try: npm start -- ~/Pictures');
  await mkdir(folder);
  await makeSample(folder);
}

async function report(output: Output, rehearsal: Rehearsal, kept: string | undefined): Promise<number> {
  const { imported, scrubbed, compared, comparedReplica } = rehearsal;
  const sound = scrubbed.damaged.length + scrubbed.badRows === 0 && scrubbed.rootLog === undefined;
  const differences = [...compared.differences, ...comparedReplica.differences];
  const differenceCount = compared.differenceCount + comparedReplica.differenceCount;
  const saved = imported.bytes - imported.newBytes;
  const share = imported.bytes > 0 ? ` (${Math.round((100 * saved) / imported.bytes)} %)` : '';
  const rows: [string, string][] = [
    [
      'files',
      `${showCount(imported.files, 'file')}, ${showCount(imported.folders, 'folder')}, ${showCount(imported.links, 'link')}`,
    ],
    ['content', showBytes(imported.bytes)],
    ['stored new', showBytes(imported.newBytes)],
    ['dedup saved', `${showBytes(saved)}${share}`],
    ...rehearsal.steps.map(rowOf),
    [
      'scrub',
      sound
        ? `no damage in ${showCount(scrubbed.blobs, 'blob')}`
        : `${showCount(scrubbed.damaged.length, 'blob')} DAMAGED`,
    ],
    ...replicaRows(rehearsal),
    [
      'result',
      differenceCount === 0
        ? 'identical: every byte, mode and modification time, both times'
        : showCount(differenceCount, 'difference'),
    ],
  ];
  for (const { path, reason } of imported.skipped) output.warn(`skipped ${path} (${reason})`);
  for (const [name, value] of rows) await output.line(`  ${name.padEnd(12)} ${value}`);
  for (const difference of differences) output.note(`different: ${difference}`);
  if (kept !== undefined) await output.line(`  The store stays in ${kept}`);
  if (!sound) return exitCodes.damage;
  return differenceCount === 0 ? exitCodes.fine : exitCodes.failed;
}

/** The copy changes between the two transfers to the replica. */
function replicaRows({ replicaSteps, changes }: Rehearsal): [string, string][] {
  const [first, ...rest] = replicaSteps.map(rowOf);
  const changed: [string, string] = ['changed', `in the restored copy: ${changes.join(', ') || 'nothing'}`];
  return [first!, changed, ...rest];
}

function rowOf({ name, bytes, seconds, transfer }: Step): [string, string] {
  const time = showSeconds(seconds).padStart(7);
  if (transfer === undefined) return [name, `${time}   ${showRate(bytes, seconds)}`];
  const wire = showBytes(transfer.sentBytes + transfer.receivedBytes);
  return [name, `${time}   ${wire} on the wire, ${showCount(transfer.roundTrips, 'round trip')}`];
}
