/** The command line as a whole: the verbs, how their errors are told, and how they are stopped. */
import { Command, CommanderError } from 'commander';
import { type OpenOptions, StoreError } from '../index.ts';
import { add } from './add.ts';
import { alternates } from './alternates.ts';
import { cat } from './cat.ts';
import { compact } from './compact.ts';
import { diff } from './diff.ts';
import { dissociate } from './dissociate.ts';
import { Stopped, exitCodes, toldError } from './exit.ts';
import { gc } from './gc.ts';
import { get } from './get.ts';
import { health } from './health.ts';
import { init } from './init.ts';
import { keys } from './keys.ts';
import { ls } from './ls.ts';
import { maintain } from './maintain.ts';
import { Output, type Streams } from './output.ts';
import { pull } from './pull.ts';
import { push } from './push.ts';
import { rebuild } from './rebuild.ts';
import { receive } from './receive.ts';
import { remote } from './remotes.ts';
import { repair } from './repair.ts';
import { rm } from './rm.ts';
import { schedule } from './schedule.ts';
import { scrub } from './scrub.ts';
import { type Sources, addKeyOptions } from './secret.ts';
import { send } from './send.ts';
import { serve } from './serve.ts';
import { stat } from './stat.ts';
import { stats } from './stats.ts';
import { onStop } from './stop.ts';
import { trash } from './trash.ts';
import { undelete } from './undelete.ts';
import { token } from './token.ts';
import type { Verb } from './verb.ts';
import { volumes } from './volumes.ts';

const verbs: readonly Verb[] = [
  init,
  add,
  ls,
  cat,
  diff,
  get,
  stat,
  rm,
  trash,
  undelete,
  gc,
  compact,
  volumes,
  alternates,
  dissociate,
  keys,
  scrub,
  health,
  maintain,
  schedule,
  rebuild,
  repair,
  stats,
  pull,
  push,
  remote,
  serve,
  send,
  receive,
  token,
];

/** Where a command speaks, and with how many threads it works, where others than this process's own and the usual number are meant. */
export interface Surroundings {
  readonly streams?: Streams;
  readonly threads?: OpenOptions['threads'];
}

/** Runs one command; resolves to the exit code. */
export async function runProgram(
  argv: readonly string[],
  { streams = process, threads }: Surroundings = {},
): Promise<number> {
  const output = new Output(argv.includes('--json') ? 'json' : 'people', streams);
  const stop = onStop(streams);
  let exit: number = exitCodes.fine;
  const help = { writeOut: (text: string) => void streams.stdout.write(text), writeErr: () => undefined };
  const program = new Command('holdfast')
    .description('A content-addressed store for files: every blob once, every byte verified.')
    .exitOverride()
    .configureOutput(help);
  for (const verb of verbs) {
    const command = verb
      .define(program)
      .option('--json', 'print one JSON object as the last line; progress goes to stderr');
    addKeyOptions(command);
    command.exitOverride().configureOutput(help);
    command.action(async () => {
      exit = await verb.run(
        {
          output,
          signal: stop.signal,
          key: command.opts<Sources>(),
          keyless: verb.keyless === true,
          ...(threads === undefined ? {} : { threads }),
        },
        command.processedArgs.flat() as string[],
        command.opts(),
      );
    });
  }
  try {
    await program.parseAsync(argv, { from: 'user' });
    // A result that did not go out is none, also where the verb ended before that was known.
    await output.flush();
    if (StoreError.is(stop.signal.reason)) throw stop.signal.reason;
    return exit;
  } catch (error) {
    return await tell(output, error, program);
  } finally {
    stop.end();
  }
}

async function tell(output: Output, error: unknown, program: Command): Promise<number> {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.fine; // --help
    if (error.code === 'commander.help') output.note(program.helpInformation());
    else
      await tellError(output, { code: 'invalid-argument', message: error.message.replace(/^error: /, '') });
    return exitCodes.usage;
  }
  if (error instanceof Stopped && error.by === 'EPIPE') return exitCodes.fine;
  const told = toldError(error);
  await tellError(output, told);
  if (told.code === 'internal' && error instanceof Error) output.note(error.stack ?? '');
  return told.exit;
}

async function tellError(
  output: Output,
  { code, message }: { readonly code: string; readonly message: string },
): Promise<void> {
  output.note(`holdfast: ${message} (${code})`);
  await output.result({ error: { code, message } });
}
