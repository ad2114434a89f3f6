/** `holdfast keys ACTION DIR …`: the keys of an encrypted store: list, add, remove, rotate, renew, reseal. */
import type { KeysInfo, ResealResult, Secret, Store } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import { Progress } from './progress.ts';
import { type Sources, addNewKeyOptions, askNewPassphrase, readSecret, wipe } from './secret.ts';
import { showBytes, showCount, showTime } from './units.ts';
import { type Context, type Verb, withReadableStore, withStore } from './verb.ts';

interface KeysOptions {
  readonly newKeyFile?: string;
  readonly newPassphraseFd?: number;
  readonly recovery?: true;
  /** Only ever false: `--no-reseal`. */
  readonly reseal: boolean;
}

interface Call {
  readonly directory: string;
  readonly slot: string | undefined;
  readonly options: KeysOptions;
}

interface Action {
  /** Names of the arguments behind the store. */
  readonly names: readonly string[];
  /** The options it takes, of those that not all do. */
  readonly takes: readonly (keyof KeysOptions)[];
  run(context: Context, call: Call): Promise<number>;
}

const newKeys = ['newKeyFile', 'newPassphraseFd', 'recovery'] as const;

const actions: Readonly<Record<string, Action>> = {
  list: { names: [], takes: [], run: list },
  add: { names: [], takes: newKeys, run: add },
  remove: { names: ['SLOT'], takes: [], run: remove },
  rotate: { names: [], takes: ['reseal'], run: rotate },
  renew: { names: [], takes: [...newKeys, 'reseal'], run: renew },
  reseal: { names: [], takes: [], run: reseal },
};

export const keys: Verb = {
  define: (program) =>
    addNewKeyOptions(
      program
        .command('keys')
        .description('the keys of an encrypted store: list, add, remove, rotate, renew, reseal')
        .argument(
          '<action>',
          'list; add; remove DIR SLOT; rotate: a new epoch, all slots stay; renew: a new epoch, only new secrets open; reseal: go on sealing anew',
        )
        .argument('<dir>', 'the store')
        .argument('[slot]', 'remove: its id, as list shows it'),
    ).option('--no-reseal', 'rotate, renew: leave what is there under its old epoch'),
  async run(context, [name, directory, slot], given) {
    const action = actions[name!];
    if (action === undefined)
      throw new UsageError(`no action ${JSON.stringify(name)}; there are ${Object.keys(actions).join(', ')}`);
    if ((slot === undefined ? 0 : 1) !== action.names.length)
      throw new UsageError(`usage: holdfast keys ${name!} DIR ${action.names.join(' ')}`.trimEnd());
    const options = given as unknown as KeysOptions;
    const idle = ([...newKeys, 'reseal'] as const).find(
      (option) => !action.takes.includes(option) && options[option] !== (option === 'reseal' || undefined),
    );
    if (idle !== undefined)
      throw new UsageError(`keys ${name!} does not take ${flags[idle]}; see holdfast keys --help`);
    return await action.run(context, { directory: directory!, slot, options });
  },
};

const flags: Readonly<Record<keyof KeysOptions, string>> = {
  newKeyFile: '--new-key-file',
  newPassphraseFd: '--new-passphrase-fd',
  recovery: '--recovery',
  reseal: '--no-reseal',
};

async function list(context: Context, { directory }: Call): Promise<number> {
  const { output } = context;
  const found = await withReadableStore(directory, { ...context, keyless: true }, (store) =>
    store.keys.list(),
  );
  await output.line(`realm ${found.realm}, epoch ${found.epoch}${behindText(found)}`);
  for (const slot of found.slots) await output.line(describeSlot(slot));
  await output.result(found);
  return exitCodes.fine;
}

function behindText({ behind }: KeysInfo): string {
  return behind === undefined ? '' : `, ${showCount(behind, 'blob')} under older ones`;
}

/** A line about a slot; also of `holdfast init`. */
export function describeSlot({ id, kind, derivation, createdMs }: KeysInfo['slots'][number]): string {
  return `slot  ${id}  ${kind.padEnd(12)}  ${derivation.padEnd(8)}  ${showTime(createdMs)}`;
}

async function add(context: Context, { directory, options }: Call): Promise<number> {
  const { output } = context;
  if (newKeys.filter((name) => options[name] !== undefined).length > 1)
    throw new UsageError('keys add takes one of --new-key-file, --new-passphrase-fd and --recovery');
  await withStore(directory, context, async (store) => {
    // After the present secret: both may come through one descriptor.
    const secret = options.recovery ? 'recovery-key' : (await newSecrets(context, options))[0]!;
    const { id, recoveryKey } = await store.keys.add(secret);
    if (typeof secret !== 'string') wipe(secret);
    await output.line(`added slot ${id}`);
    if (recoveryKey !== undefined) await tellRecoveryKey(context, recoveryKey);
    await output.result({ slot: id, ...(recoveryKey === undefined ? {} : { recoveryKey }) });
  });
  return exitCodes.fine;
}

/** Those of the options; where there is none, one that is typed. */
async function newSecrets(
  context: Context,
  { newKeyFile, newPassphraseFd }: KeysOptions,
): Promise<readonly Secret[]> {
  const sources: readonly Sources[] = [
    ...(newKeyFile === undefined ? [] : [{ keyFile: newKeyFile }]),
    ...(newPassphraseFd === undefined ? [] : [{ passphraseFd: newPassphraseFd }]),
  ];
  const secrets: Secret[] = [];
  for (const source of sources) secrets.push((await readSecret(source, context))!);
  if (secrets.length > 0) return secrets;
  return [await askNewPassphrase(context, '--new-key-file or --new-passphrase-fd')];
}

/** Prints a recovery key, which is told this once; also of `holdfast init`. */
export async function tellRecoveryKey({ output }: Context, recoveryKey: string): Promise<void> {
  await output.line(`recovery key  ${recoveryKey}`);
  output.note('Write it down and keep it away from the store: it is not shown again, and opens everything.');
}

async function remove(context: Context, { directory, slot }: Call): Promise<number> {
  const { output } = context;
  const info = await withStore(directory, context, async (store) => {
    await store.keys.remove(slot!);
    return await store.keys.list();
  });
  await output.line(`removed slot ${slot!}`);
  await output.result({ ...info, removed: slot });
  return exitCodes.fine;
}

async function rotate(context: Context, { directory, options }: Call): Promise<number> {
  return await withStore(directory, context, async (store) => {
    await store.keys.rotate();
    return await sealAnew(context, store, { directory, wanted: options.reseal });
  });
}

async function renew(context: Context, { directory, options }: Call): Promise<number> {
  const { output } = context;
  return await withStore(directory, context, async (store) => {
    const secrets = await newSecrets(context, options);
    await store.keys.renew(secrets);
    secrets.forEach(wipe);
    if (options.recovery !== true)
      return await sealAnew(context, store, { directory, wanted: options.reseal });
    const { recoveryKey } = await store.keys.add('recovery-key');
    await tellRecoveryKey(context, recoveryKey!);
    // At once: sealing anew may take hours, and may not come to its end. The last object has it again.
    if (options.reseal) await output.result({ recoveryKey });
    return await sealAnew(context, store, { directory, wanted: options.reseal, recoveryKey });
  });
}

async function reseal(context: Context, { directory }: Call): Promise<number> {
  return await withStore(directory, context, (store) =>
    sealAnew(context, store, { directory, wanted: true }),
  );
}

/** Brings everything under the newest epoch where that is wanted, and tells how the keys stand. */
async function sealAnew(
  context: Context,
  store: Store,
  how: { readonly directory: string; readonly wanted: boolean; readonly recoveryKey?: string | undefined },
): Promise<number> {
  const { output } = context;
  const { epoch } = await store.keys.list();
  const resealed = how.wanted ? await resealAll(context, store, { ...how, epoch }) : undefined;
  const info = await store.keys.list();
  await output.line(`realm ${info.realm}, epoch ${info.epoch}${behindText(info)}`);
  for (const slot of info.slots) await output.line(describeSlot(slot));
  const left = how.wanted ? (info.behind ?? 0) : 0;
  if (left > 0)
    output.warn(
      `${showCount(left, 'blob')} could not be sealed anew: damaged, or put just now by another process. Scrub, then keys reseal`,
    );
  const { recoveryKey } = how;
  await output.result({
    ...info,
    ...(resealed === undefined ? {} : { resealed }),
    ...(recoveryKey === undefined ? {} : { recoveryKey }),
  });
  return left > 0 ? exitCodes.failed : exitCodes.fine;
}

async function resealAll(
  { output, signal }: Context,
  store: Store,
  { directory, epoch }: { readonly directory: string; readonly epoch: number },
): Promise<ResealResult> {
  const progress = new Progress(output, 'sealed anew', 'blob');
  try {
    const result = await store.keys.reseal({
      signal,
      onProgress: ({ blobs, bytes }) => progress.update({ files: blobs, bytes }),
    });
    progress.end();
    await output.line(`sealed anew: ${showCount(result.blobs, 'blob')}, ${showBytes(result.bytes)}`);
    return result;
  } catch (error) {
    progress.end();
    output.note(`epoch ${epoch} is in force; "holdfast keys reseal ${directory}" goes on with what is left`);
    throw error;
  }
}
