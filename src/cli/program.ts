/** The command line as a whole: the verbs, how their errors are told, and how they are stopped. */
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { type OpenOptions, StoreError } from '../index.ts';
import { Stopped, exitCodes, toldError } from './exit.ts';
import { Output, type Streams } from './output.ts';
import { type Sources, addKeyOptions } from './secret.ts';
import { onStop } from './stop.ts';
import type { Verb } from './verb.ts';

/** By name, in the order of the help. Each is loaded when it is named: all of them take a tenth of a second. */
const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  init: async () => (await import('./init.ts')).init,
  add: async () => (await import('./add.ts')).add,
  ls: async () => (await import('./ls.ts')).ls,
  cat: async () => (await import('./cat.ts')).cat,
  diff: async () => (await import('./diff.ts')).diff,
  get: async () => (await import('./get.ts')).get,
  stat: async () => (await import('./stat.ts')).stat,
  rm: async () => (await import('./rm.ts')).rm,
  trash: async () => (await import('./trash.ts')).trash,
  undelete: async () => (await import('./undelete.ts')).undelete,
  gc: async () => (await import('./gc.ts')).gc,
  compact: async () => (await import('./compact.ts')).compact,
  volumes: async () => (await import('./volumes.ts')).volumes,
  alternates: async () => (await import('./alternates.ts')).alternates,
  dissociate: async () => (await import('./dissociate.ts')).dissociate,
  keys: async () => (await import('./keys.ts')).keys,
  scrub: async () => (await import('./scrub.ts')).scrub,
  health: async () => (await import('./health.ts')).health,
  maintain: async () => (await import('./maintain.ts')).maintain,
  schedule: async () => (await import('./schedule.ts')).schedule,
  rebuild: async () => (await import('./rebuild.ts')).rebuild,
  repair: async () => (await import('./repair.ts')).repair,
  stats: async () => (await import('./stats.ts')).stats,
  pull: async () => (await import('./pull.ts')).pull,
  push: async () => (await import('./push.ts')).push,
  remote: async () => (await import('./remotes.ts')).remote,
  serve: async () => (await import('./serve.ts')).serve,
  send: async () => (await import('./send.ts')).send,
  receive: async () => (await import('./receive.ts')).receive,
  token: async () => (await import('./token.ts')).token,
};

/** By the package's own name, so that it is found from the sources and from what is built of them. */
const { version } = createRequire(import.meta.url)('holdfast/package.json') as { readonly version: string };

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
    .version(version)
    .exitOverride()
    .configureOutput(help);
  for (const verb of await named(argv)) {
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

/** The verb that is meant; all of them where it is not said, or not known: help and proposals tell of every one. */
async function named(argv: readonly string[]): Promise<readonly Verb[]> {
  const name = argv.find((argument) => !argument.startsWith('-'));
  const loads = name !== undefined && Object.hasOwn(verbs, name) ? [verbs[name]!] : Object.values(verbs);
  return await Promise.all(loads.map((load) => load()));
}

async function tell(output: Output, error: unknown, program: Command): Promise<number> {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.fine; // --help, --version
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
