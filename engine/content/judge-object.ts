/** Judges sealed objects that came from elsewhere, before they are taken in: by their form, and with keys by what is in them. */
import type { BlobKind } from '../api.ts';
import { fromHex } from '../codec/bytes.ts';
import { type LocatedLink, decodeLinkLocators } from '../codec/locator.ts';
import { Frame } from '../codec/frame.ts';
import { type Provider, tagBytes } from '../codec/provider.ts';
import { type SealHeader, decodeHead, fixedHeadBytes, headBytesOf } from '../codec/seal-header.ts';
import { trailerBytes } from '../codec/seal-layout.ts';
import { StoreError } from '../errors.ts';
import type { Host, OpenFile } from '../host.ts';
import type { BlobFacts, Realm } from '../keys/realm.ts';
import { type BlobFile, FramedFile, Scratch } from './blob-file.ts';
import { Contents } from './contents.ts';

/** An object that came from elsewhere. */
export interface ForeignObject {
  /** Hex. */
  readonly locator: string;
  readonly kind: BlobKind;
}

/** What an object that came from elsewhere tells: nothing of its blob without keys. */
export interface JudgedObject {
  readonly facts: BlobFacts | undefined;
  readonly links: readonly LocatedLink[];
}

/**
 * Whether an object may be taken in under a locator: of the right role, of a length that it can have, and with keys opened and hashed.
 * `corrupt` for what no sealer wrote, `tampered` for another's. Yields bytes read.
 */
export function* judge(
  contents: Contents,
  { locator, kind }: ForeignObject,
  stored: BlobFile,
): Generator<number, JudgedObject> {
  const { role, clear, epoch } = headerOf(stored);
  if (role !== kind)
    throw new StoreError('tampered', `an object that came as a ${kind} is sealed as ${role}`);
  if (epoch === 0) throw new StoreError('corrupt', 'a sealed object has no epoch');
  const links = decodeLinkLocators(clear);
  if (contents.realm.state === 'locked') return { facts: undefined, links };
  const copy = { kind, name: fromHex(locator)!, size: stored.size };
  const facts = yield* contents.verify(copy, stored);
  return { facts, links };
}

/** The same of one in memory, at once. */
export function judgeNow(contents: Contents, object: ForeignObject, stored: BlobFile): JudgedObject {
  const steps = judge(contents, object, stored);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The clear head of an object that is at least as long as any with this head. */
export function headerOf(stored: BlobFile): SealHeader {
  const least = fixedHeadBytes + tagBytes + trailerBytes;
  if (stored.size < least) throw new StoreError('corrupt', `a sealed object of ${stored.size} bytes is none`);
  const headBytes = headBytesOf(stored.read(0, fixedHeadBytes));
  if (stored.size < headBytes + tagBytes + trailerBytes)
    throw new StoreError('corrupt', 'a sealed object ends inside its head');
  return decodeHead(stored.read(0, headBytes)).header;
}

/** The same of a large raw one that lies framed in a file, which stays open. What its blob is called, or itself where nothing tells that. */
export async function judgeFramed(
  locator: string,
  { file, bytes }: { readonly file: OpenFile; readonly bytes: number },
  parts: { readonly host: Host; readonly provider: Provider; readonly realm: Realm },
): Promise<{ readonly id: string; readonly size: number; readonly label: Uint8Array | null }> {
  const { host, provider, realm } = parts;
  const read = new Scratch().reader(file);
  const framed = new FramedFile(file, new Frame(provider, read, bytes), read);
  const contents = new Contents(provider, realm);
  const steps = judge(contents, { locator, kind: 'raw' }, framed);
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) await host.clock.yield();
  const { facts } = step.value;
  return {
    id: facts?.id ?? locator,
    size: facts?.size ?? framed.size,
    label: contents.labelOf(facts),
  };
}
