/** The secrets of an encrypted store on the command line: from files, descriptors and terminals; never from argv or the environment. */
import { open } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { type Secret, StoreError, readParameters } from '../index.ts';
import { lineBytesMax, parseDescriptor, readLine, terminalOf } from './descriptor.ts';
import { UsageError } from './exit.ts';
import type { Output } from './output.ts';
import { askHidden, isTerminal } from './terminal.ts';

/** Where a secret is to be taken from. At most one is there where one is to be chosen. */
export interface Sources {
  readonly keyFile?: string;
  readonly passphraseFd?: number;
  readonly recoveryKeyFd?: number;
}

/** Who wants a secret, and where people are asked. */
export interface Asker {
  readonly output: Output;
  readonly signal: AbortSignal;
}

const opening = 'Keys of an encrypted store:';
const openingRemote = 'Keys of an encrypted store in a folder that is REMOTE:';
const keyFileBytesMax = 1024 * 1024;

/** Adds what opens an encrypted store to a command; at most one of them may be given. */
export function addKeyOptions(command: Command): void {
  const all: readonly (readonly [name: string, flags: string, text: string])[] = [
    ['keyFile', '--key-file <file>', 'the key is the content of this file'],
    ['passphraseFd', '--passphrase-fd <n>', 'read the passphrase from this file descriptor, up to a newline'],
    ['recoveryKeyFd', '--recovery-key-fd <n>', 'read the recovery key from this file descriptor'],
  ];
  for (const [name, flags, text] of all) {
    const option = new Option(flags, text).helpGroup(opening);
    option.conflicts(all.map(([other]) => other).filter((other) => other !== name));
    if (name !== 'keyFile') option.argParser(parseDescriptor);
    command.addOption(option);
  }
}

/** Adds what opens an encrypted store that is the other side of a transfer. */
export function addRemoteKeyOptions(command: Command): Command {
  const all = ['remoteKeyFile', 'remotePassphraseFd', 'remoteRecoveryKeyFd'];
  const add = (name: string, flags: string, text: string): void => {
    const option = new Option(flags, text).helpGroup(openingRemote);
    option.conflicts(all.filter((other) => other !== name));
    if (name !== 'remoteKeyFile') option.argParser(parseDescriptor);
    command.addOption(option);
  };
  add('remoteKeyFile', '--remote-key-file <file>', 'the key is the content of this file');
  add('remotePassphraseFd', '--remote-passphrase-fd <n>', 'read its passphrase from this file descriptor');
  add('remoteRecoveryKeyFd', '--remote-recovery-key-fd <n>', 'read its recovery key from there');
  return command;
}

/** Adds the new secrets of `keys add` and `keys renew`. */
export function addNewKeyOptions(command: Command): Command {
  return command
    .option('--new-key-file <file>', 'add, renew: the content of this file is to open the store')
    .addOption(
      new Option(
        '--new-passphrase-fd <n>',
        'add, renew: the passphrase read here is to open it; after the present one where both come by one descriptor',
      ).argParser(parseDescriptor),
    )
    .option('--recovery', 'add, renew: make a recovery key, and print it');
}

export function isGiven({ keyFile, passphraseFd, recoveryKeyFd }: Sources): boolean {
  return keyFile !== undefined || passphraseFd !== undefined || recoveryKeyFd !== undefined;
}

/** What is given, read and checked for what can be no secret. Undefined where nothing is given. */
export async function readSecret(sources: Sources, asker: Asker): Promise<Secret | undefined> {
  const { keyFile, passphraseFd, recoveryKeyFd } = sources;
  if (keyFile !== undefined) return { kind: 'key-file', content: await readKeyFile(keyFile) };
  if (passphraseFd !== undefined)
    return passphrase(await lineOf(passphraseFd, { ...asker, question: 'Passphrase: ' }));
  if (recoveryKeyFd === undefined) return undefined;
  const line = await lineOf(recoveryKeyFd, { ...asker, question: 'Recovery key: ' });
  return { kind: 'recovery-key', text: line.toString('utf8') };
}

/**
 * The secret that opens a store. Without one, somebody at a terminal is asked for the passphrase; `wrong-key` where nobody is there.
 * Undefined for a store that is not encrypted.
 */
export async function secretToOpen(
  directory: string,
  sources: Sources,
  asker: Asker,
): Promise<Secret | undefined> {
  if (isGiven(sources)) return await readSecret(sources, asker);
  // Whatever is wrong with the store, opening it says it better.
  const encryption = (await readParameters(directory).catch(() => undefined))?.encryption;
  if (encryption === undefined || encryption === null) return undefined;
  if (!isTerminal())
    throw new StoreError(
      'wrong-key',
      'this store is encrypted: give --key-file, --passphrase-fd or --recovery-key-fd',
      { realm: encryption.realm },
    );
  const [typed] = await askHidden(['Passphrase: '], asker);
  return passphrase(typed!);
}

/** A new passphrase, typed twice. `options`: what to give where nobody can be asked. */
export async function askNewPassphrase(asker: Asker, options: string): Promise<Secret> {
  if (!isTerminal()) throw new UsageError(`there is no terminal to ask for a passphrase on: give ${options}`);
  const [typed, again] = await askHidden(['New passphrase: ', 'Once more: '], asker);
  if (typed !== again) throw new UsageError('the two passphrases are not the same');
  return passphrase(typed!);
}

/** Overwrites what can be. A string cannot. */
export function wipe(secret: Secret | undefined): void {
  if (secret?.kind === 'key-file') secret.content.fill(0);
  if (secret?.kind === 'passphrase' && typeof secret.passphrase !== 'string') secret.passphrase.fill(0);
}

async function lineOf(
  descriptor: number,
  { question, output, signal }: Asker & { readonly question: string },
): Promise<Buffer> {
  const input = terminalOf(descriptor);
  if (input === undefined) return await readLine(descriptor, signal);
  const [typed] = await askHidden([question], { output, signal, input });
  return Buffer.from(typed!);
}

/** As text where it is text, so that what is piped and what is typed become the same key; other bytes as they are. */
function passphrase(line: Buffer | string): Secret {
  if (line.length === 0) throw new UsageError('the passphrase is empty');
  if (Buffer.byteLength(line) > lineBytesMax)
    throw new UsageError(`the passphrase is longer than ${lineBytesMax} bytes`);
  if (typeof line === 'string') return { kind: 'passphrase', passphrase: line };
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line);
    return { kind: 'passphrase', passphrase: text };
  } catch {
    return { kind: 'passphrase', passphrase: new Uint8Array(line) };
  }
}

/** Up to one byte too many: the engine says which sizes will do. Not by its size, which a pipe (`<(…)`) does not have. */
async function readKeyFile(path: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(keyFileBytesMax + 1);
  try {
    const file = await open(path, 'r');
    try {
      let length = 0;
      while (length < bytes.length) {
        const { bytesRead } = await file.read(bytes, length, bytes.length - length, null);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return bytes.slice(0, length);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw keyFileError(error, path);
  } finally {
    bytes.fill(0);
  }
}

function keyFileError(error: unknown, path: string): unknown {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new StoreError('not-found', `there is no key file ${path}`, { path }, error);
    case 'EISDIR':
      return new UsageError(`${path} is a folder, not a key file`);
    case 'EACCES':
      return new StoreError('forbidden', `the key file ${path} may not be read`, { path }, error);
    default:
      return error;
  }
}
