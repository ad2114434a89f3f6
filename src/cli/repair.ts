/** `holdfast repair DIR`: has what is damaged or lost from copies, alternates, or another store, wherever that is. */
import { type RepairResult, type Store, repairFrom } from '../index.ts';
import { UsageError, exitCodes } from './exit.ts';
import {
  type RemoteOptions,
  addRemoteOptions,
  byLocatorsFlag,
  folderOf,
  keysOf,
  openFolder,
  withConnect,
} from './remote.ts';
import { showLog } from './damage-report.ts';
import { isGiven } from './secret.ts';
import { showCount } from './units.ts';
import { type Context, type Verb, asItLies, openReadable, unlockingOther, withStore } from './verb.ts';

/** Lines that people are shown; with --json there are all. */
const shownMax = 20;

export const repair: Verb = {
  define: (program) =>
    addRemoteOptions(
      program
        .command('repair')
        .description('scrub, and have what is damaged from other copies, alternates, or another store')
        .argument('<dir>', 'the store')
        .option(
          '--from <remote>',
          'another store, to be asked for what is not to be had otherwise: a folder, ssh://, http(s)://, or a name of holdfast remote',
        )
        .option(
          byLocatorsFlag,
          '--from a store of the same realm: have what is sealed as it lies, so that neither needs keys',
        ),
    ),
  async run(surrounding, [directory], given) {
    const { from, ...said } = given as RemoteOptions & { readonly from?: string };
    if (from === undefined && said.byLocators === true)
      throw new UsageError('what is said about a remote goes with --from');
    const { context, byLocators } =
      from === undefined
        ? { context: surrounding, byLocators: false }
        : await asItLies(directory!, surrounding, said.byLocators === true);
    const options = { ...said, ...(byLocators ? ({ byLocators } as const) : {}) };
    const { output, signal } = context;
    const result: RepairResult & { readonly failure?: Error } = await withStore(
      directory!,
      context,
      (store) =>
        from === undefined
          ? repairAlone(store, { signal, options })
          : repairWith(store, from, { context, options }),
    );
    const { failure, ...told } = result;
    const { healed, sources, remaining, unreachable, rootLog } = told;
    for (const { id, reason } of remaining.slice(0, shownMax)) output.note(`damaged still: ${id}: ${reason}`);
    if (remaining.length > shownMax) output.note(`… and ${remaining.length - shownMax} more`);
    if (rootLog !== undefined) output.note(showLog(rootLog));
    if (unreachable > 0)
      output.note(
        `${showCount(unreachable, 'blob')} of which nothing can be said: a volume or an alternate is away, or a disk cannot read them`,
      );
    const whence = `${sources.mirrors} from mirrors, ${sources.alternates} from alternates, ${sources.from} from ${from ?? 'another store'}`;
    await output.line(`${showCount(healed, 'blob')} healed (${whence}); ${remaining.length} damaged still`);
    if (failure !== undefined) output.note(`${from} gave no more: ${failure.message}`);
    await output.result(told);
    if (remaining.length > 0 || rootLog?.mended === false) return exitCodes.damage;
    return unreachable > 0 ? exitCodes.unavailable : exitCodes.fine;
  },
};

async function repairAlone(
  store: Store,
  { signal, options }: { readonly signal: AbortSignal; readonly options: RemoteOptions },
): Promise<RepairResult> {
  const { tokenFile, tlsCa, allowPlainHttp, rate } = options;
  if (isGiven(keysOf(options)) || [tokenFile, tlsCa, allowPlainHttp, rate].some((one) => one !== undefined))
    throw new UsageError('what is said about a remote goes with --from');
  return await store.repair({ signal });
}

/** A folder is read as it is; every other store is asked over a connection. */
async function repairWith(
  store: Store,
  from: string,
  { context, options }: { readonly context: Context; readonly options: RemoteOptions },
): Promise<RepairResult> {
  const { signal } = context;
  const { directory } = store;
  const folder = await folderOf(from, directory);
  if (folder === undefined)
    return await withConnect(from, 'pull', {
      context,
      directory,
      options,
      work: (connect) =>
        repairFrom(store, connect, { signal, ...(options.byLocators === true ? { by: 'locators' } : {}) }),
    });
  const { tokenFile, tlsCa, allowPlainHttp, rate } = options;
  if ([tokenFile, tlsCa, allowPlainHttp, rate].some((one) => one !== undefined))
    throw new UsageError('--token-file, --tls-ca, --allow-plain-http and --rate are for what is no folder');
  // With keys of its own, with none, or with those of the store that is repaired.
  const other =
    isGiven(keysOf(options)) || options.byLocators === true
      ? await openFolder(folder, 'pull', { context, options })
      : await unlockingOther(folder, context, (key) => openReadable(folder, key));
  try {
    return await store.repair({ from: other, signal });
  } finally {
    await other.close();
  }
}
