/** `holdfast serve DIR --http`: a server for one store, which tells where it listens, and who came. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Scope, type SyncSession, isLoopback, listenHttp, syncHandler, tokensOf } from '../index.ts';
import { Stopped, UsageError, exitCodes } from './exit.ts';
import { readSmallFile } from './small-file.ts';
import { showBytes, showCount } from './units.ts';
import { type Context, withReadableStore } from './verb.ts';

export interface HttpServing {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly allowPlainHttp?: true;
}

/** Serves until the program is told to stop, which is a good end. */
export async function serveHttp(
  context: Context,
  directory: string,
  serving: HttpServing & { readonly at: string },
): Promise<number> {
  const { output, signal } = context;
  const { host, port } = parseListen(serving.at);
  const tls = await readTls(serving);
  const tokens = tokensOf(directory);
  const began = await changeOf(directory);
  let open = (await tokens.list()).length === 0;
  if (!isLoopback(host)) {
    if (tls === undefined && serving.allowPlainHttp !== true)
      throw new UsageError(
        `other machines can reach ${host}: give --tls-cert and --tls-key, or say --allow-plain-http`,
      );
    if (open)
      throw new UsageError(
        `other machines can reach ${host}, and the store has no tokens: see holdfast token create`,
      );
  } else if (open)
    output.warn('the store has no tokens: everybody on this machine may pull from it and push to it');
  // The first token closes the door for good: revoking the last one must not open it, also where nobody came between.
  const anonymous = async (): Promise<Scope | undefined> => {
    open &&= (await changeOf(directory)) === began && (await tokens.list()).length === 0;
    return open ? 'admin' : undefined;
  };
  await withReadableStore(directory, context, async (store) => {
    let sessions = 0;
    const onSession = (session: SyncSession): void => {
      sessions++;
      output.note(describe(session));
    };
    const handler = syncHandler(store, { tokens, onSession, ...(open ? { anonymous } : {}) });
    const { url, close } = await listenHttp(handler, { host, port, ...(tls === undefined ? {} : { tls }) });
    try {
      await output.line(`serving ${url}`);
      await output.result({ url });
      await stopped(signal);
    } finally {
      await close();
    }
    await output.result({ url, sessions });
  });
  if (signal.reason instanceof Stopped && signal.reason.by === 'EPIPE') throw signal.reason;
  return exitCodes.fine;
}

/** Another one when a token was made or revoked since; none where none ever was. */
async function changeOf(directory: string): Promise<bigint | undefined> {
  try {
    return (await stat(join(directory, 'tokens'), { bigint: true })).mtimeNs;
  } catch {
    return undefined; // what is wrong with it, reading the tokens says
  }
}

async function readTls({
  tlsCert,
  tlsKey,
}: HttpServing): Promise<{ readonly cert: Buffer; readonly key: Buffer } | undefined> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined)
    throw new UsageError('--tls-cert and --tls-key go together');
  return {
    cert: await readSmallFile(tlsCert, 'certificate'),
    key: await readSmallFile(tlsKey, 'key of a certificate'),
  };
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** `PORT`, `HOST:PORT` or `[ADDRESS]:PORT`. */
function parseListen(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] =
    /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9][A-Za-z0-9.-]*)):)?([0-9]{1,5})$/.exec(text) ?? [];
  const port = Number(digits ?? Number.NaN);
  if (!(port <= 65_535)) throw new UsageError(`not HOST:PORT: ${JSON.stringify(text.slice(0, 80))}`);
  return { host: bracketed ?? plain ?? '127.0.0.1', port };
}

function describe({ address, token, scope, transfers, error }: SyncSession): string {
  const who = `${address} (${token === undefined ? 'no token' : `token ${token}`}, ${scope})`;
  if (error !== undefined) return `${who}: ${error instanceof Error ? error.message : String(error)}`;
  const bytes = transfers.reduce((sum, one) => sum + one.sentBytes + one.receivedBytes, 0);
  return `${who}: ${showCount(transfers.length, 'transfer')}, ${showBytes(bytes)}`;
}
