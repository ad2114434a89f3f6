/** The transport to a store behind HTTP or HTTPS: one request with a token, which becomes a connection. */
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { StoreError } from '../../engine/index.ts';
import { type Transport, socketTransport } from '../../sync/index.ts';
import { upgradeName } from './handler.ts';
import { isLoopback } from './listen.ts';

export interface HttpOptions {
  readonly token?: string;
  /** PEM certificates that are trusted in place of the system's. Certificates are always checked. */
  readonly ca?: string | Uint8Array;
  /** Sends the token without TLS to another machine too, where everybody on the way can read it. */
  readonly plain?: 'allowed';
  /** From the connection's beginning to the upgrade, ms; default 30 seconds. */
  readonly connectMs?: number;
  readonly signal?: AbortSignal;
}

const headerBytesMax = 8 * 1024;
const bodyBytesMax = 2048;

/**
 * Connects to `http(s)://host[:port][/path]`. `forbidden`: the token is not known there, or the certificate is not to be trusted;
 * `not-a-store`: something else answers; `busy`: there are too many sessions; `unavailable`: nobody answers. No redirect is followed.
 */
export async function httpTransport(address: string, options: HttpOptions = {}): Promise<Transport> {
  const url = parseHttpAddress(address);
  const { token, ca, plain, connectMs = 30_000, signal } = options;
  const secure = url.protocol === 'https:';
  if (!secure && token !== undefined && plain !== 'allowed' && !isLoopback(hostOf(url)))
    throw new StoreError('forbidden', 'a token is not sent to another machine without TLS: use https');
  if (token !== undefined && !/^[!-~]{1,200}$/.test(token))
    throw new StoreError('invalid-argument', 'that is not a token: it is one word');
  signal?.throwIfAborted();
  const settings: RequestOptions = {
    method: 'GET',
    host: hostOf(url),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    path: url.pathname,
    agent: false,
    maxHeaderSize: headerBytesMax,
    headers: {
      connection: 'Upgrade',
      upgrade: upgradeName,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  };
  const socket = await upgraded(await requestOf(settings, secure ? { ca } : 'plain'), {
    url,
    connectMs,
    signal,
  });
  return socketTransport(socket);
}

/** Loaded when they are needed: the command line starts without them. */
async function requestOf(
  settings: RequestOptions,
  how: 'plain' | { readonly ca: string | Uint8Array | undefined },
): Promise<ClientRequest> {
  if (how === 'plain') return (await import('node:http')).request(settings);
  const { request } = await import('node:https');
  const ca = how.ca === undefined ? {} : { ca: Buffer.from(how.ca) };
  // Said aloud: an environment variable can turn checking off for a whole process otherwise.
  return request({ ...settings, rejectUnauthorized: true, ...ca });
}

/** An address of a store behind HTTP; `invalid-argument` for anything else, and for one with a password or a query. */
export function parseHttpAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (
    url === undefined ||
    (url.protocol !== 'http:' && url.protocol !== 'https:') ||
    !/^https?:\/\//i.test(address)
  )
    throw new StoreError('invalid-argument', `not https://host/: ${JSON.stringify(address.slice(0, 80))}`);
  if (url.username !== '' || url.password !== '')
    throw new StoreError('invalid-argument', 'a secret has no place in an address: put the token in a file');
  if (url.search !== '' || url.hash !== '')
    throw new StoreError('invalid-argument', 'the address of a store has no query and no fragment');
  return url;
}

function hostOf({ hostname }: URL): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

async function upgraded(
  request: ClientRequest,
  {
    url,
    connectMs,
    signal,
  }: { readonly url: URL; readonly connectMs: number; readonly signal?: AbortSignal | undefined },
): Promise<Duplex> {
  const late = setTimeout(
    () => request.destroy(new StoreError('unavailable', `${url.host} did not answer within ${connectMs} ms`)),
    connectMs,
  );
  const abort = (): void => void request.destroy(signal?.reason instanceof Error ? signal.reason : undefined);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await new Promise<Duplex>((resolve, reject) => {
      request.on('upgrade', (response, socket, head) => {
        if (response.headers.upgrade !== upgradeName) {
          socket.destroy();
          return reject(new StoreError('not-a-store', `${url.host} speaks another protocol`));
        }
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      request.on('response', (response) => void refusal(response, url).then(reject));
      request.on('error', (error) =>
        reject(signal?.aborted === true ? signal.reason : failureOf(error, url)),
      );
      request.end();
    });
  } finally {
    clearTimeout(late);
    signal?.removeEventListener('abort', abort);
  }
}

/** What an answer means that is no upgrade. */
async function refusal(response: IncomingMessage, url: URL): Promise<StoreError> {
  const status = response.statusCode ?? 0;
  const said = await wordsOf(response);
  response.destroy();
  const words = `${url.host} says ${status}${said === '' ? '' : `: ${said}`}`;
  if (status === 401 || status === 403) return new StoreError('forbidden', words, { status });
  if (status === 429 || status === 503) return new StoreError('busy', words, { status });
  if (status >= 500) return new StoreError('unavailable', words, { status });
  return new StoreError('not-a-store', `there is no store at ${url.href}: ${words}`, { status });
}

/** The words of a server of ours; of another machine: nothing of it may steer a terminal. */
async function wordsOf(response: IncomingMessage): Promise<string> {
  let body = '';
  try {
    for await (const bytes of response.setEncoding('utf8')) {
      body += String(bytes);
      if (body.length > bodyBytesMax) return '';
    }
    const told = JSON.parse(body) as { readonly error?: { readonly message?: unknown } } | null;
    const message = told?.error?.message;
    return typeof message === 'string' ? message.replace(/\p{Cc}/gu, '\ufffd').slice(0, 200) : '';
  } catch {
    return ''; // it is a server of another kind
  }
}

function failureOf(error: Error, url: URL): StoreError {
  if (StoreError.is(error)) return error;
  const code = 'code' in error ? String(error.code) : '';
  if (/CERT|ISSUER|SIGNATURE|ALTNAME/.test(code))
    return new StoreError(
      'forbidden',
      `the certificate of ${url.host} is not to be trusted: ${error.message}`,
      {},
      error,
    );
  return new StoreError('unavailable', `${url.host} cannot be reached: ${error.message}`, {}, error);
}
