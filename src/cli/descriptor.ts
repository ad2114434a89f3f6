/** Reads lines from file descriptors that the caller opened: how secrets come in without standing in argv or the environment. */
import { constants, createReadStream, fstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { ReadStream, isatty } from 'node:tty';
import { UsageError } from './exit.ts';

/** Bytes of a line at most, without its end. */
export const lineBytesMax: number = 64 * 1024;

const newline = 0x0a;
const carriageReturn = 0x0d;

/** What was read beyond a line is kept: two secrets may come through one descriptor, a line each. */
const opened = new Map<number, { readonly stream: Readable; rest: Buffer; ended: boolean }>();

/** `--passphrase-fd 3`: the number, checked. */
export function parseDescriptor(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new UsageError(`not a file descriptor: ${JSON.stringify(text)}`);
  return Number(text);
}

/** The terminal behind a descriptor, or undefined. */
export function terminalOf(descriptor: number): ReadStream | undefined {
  if (!isatty(descriptor)) return undefined;
  return descriptor === 0 ? process.stdin : new ReadStream(descriptor);
}

/** The next line, without `\n` or `\r\n`; the last one may lack it. At the end of the input it is empty. */
export async function readLine(descriptor: number, signal: AbortSignal): Promise<Buffer> {
  signal.throwIfAborted();
  let from = opened.get(descriptor);
  if (from === undefined) opened.set(descriptor, (from = { ...open(descriptor), ended: false }));
  const stop = (): void => void from.stream.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    while (!from.rest.includes(newline) && !from.ended && from.rest.length <= lineBytesMax + 1) {
      const bytes = await next(from.stream);
      signal.throwIfAborted();
      if (bytes === undefined) from.ended = true;
      else from.rest = Buffer.concat([from.rest, bytes]);
    }
  } finally {
    signal.removeEventListener('abort', stop);
  }
  const at = from.rest.indexOf(newline);
  const line = at < 0 ? from.rest : from.rest.subarray(0, at);
  from.rest = from.rest.subarray(at < 0 ? from.rest.length : at + 1);
  const text = at >= 0 && line.at(-1) === carriageReturn ? line.subarray(0, -1) : line;
  if (text.length > lineBytesMax)
    throw new UsageError(`the line from descriptor ${descriptor} is longer than ${lineBytesMax} bytes`);
  return text;
}

function open(descriptor: number): { readonly stream: Readable; readonly rest: Buffer } {
  const rest = Buffer.alloc(0);
  const facts = isOurOwn(descriptor) ? undefined : factsOf(descriptor);
  // Waited for by the event loop: a read that blocks a thread could not be stopped by SIGINT.
  if (facts?.isFIFO() === true || facts?.isSocket() === true)
    return { stream: new Socket({ fd: descriptor, readable: true, writable: false }), rest };
  if (facts?.isFile() === true || facts?.isCharacterDevice() === true)
    return { stream: createReadStream('', { fd: descriptor, autoClose: false }), rest };
  throw new UsageError(`nothing can be read from file descriptor ${descriptor}: is it open?`);
}

function factsOf(descriptor: number): ReturnType<typeof fstatSync> | undefined {
  try {
    return fstatSync(descriptor);
  } catch {
    return undefined;
  }
}

/**
 * Whether it is a pipe of the runtime to itself. They have the numbers from 3 on, where a descriptor that was forgotten would have been;
 * reading one would wait for ever, and take the signals that come through it. Seen where there is /proc.
 */
function isOurOwn(descriptor: number): boolean {
  try {
    const pipe = readlinkSync(`/proc/self/fd/${descriptor}`);
    if (!pipe.startsWith('pipe:')) return false;
    return readdirSync('/proc/self/fd').some(
      (other) => other !== String(descriptor) && writesTo(other, pipe),
    );
  } catch {
    return false;
  }
}

function writesTo(descriptor: string, pipe: string): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${descriptor}`) !== pipe) return false;
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & 3) !== constants.O_RDONLY;
  } catch {
    return false; // it was closed meanwhile
  }
}

/** The next bytes; undefined at the end. Between calls the stream does not keep the process alive. */
function next(stream: Readable): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    if (stream instanceof Socket) stream.ref();
    const settle = (end: () => void) => (): void => {
      if (stream instanceof Socket) stream.unref();
      stream.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onError);
      end();
    };
    const onReadable = (): void => {
      const bytes = stream.read() as Buffer | null;
      if (bytes !== null) settle(() => resolve(bytes))();
    };
    const onEnd = settle(() => resolve(undefined));
    const onError = (error: Error): void => settle(() => reject(error))();
    stream.on('readable', onReadable).on('end', onEnd).on('close', onEnd).on('error', onError);
    onReadable();
  });
}
