/** Which names and paths a snapshot may hold: judged as bytes when read in, and again before anything is written out. */
import { StoreError } from '../../engine/index.ts';

export const nameBytesMax = 255;
export const pathBytesMax = 4096;
/** Longest chain of nodes from a root, its folders' inner nodes included. */
export const chainMax = 128;
export const targetBytesMax = 4095;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text of UTF-8 bytes; undefined when they are something else (lone surrogates included). */
export function utf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

export function toUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The name in these bytes; `corrupt` for one that no import writes: such a tree was made to do harm, or is damaged. */
export function readName(bytes: Uint8Array): string {
  const name = utf8(bytes);
  const fault = name === undefined ? 'is not UTF-8' : nameFault(bytes, name);
  if (fault !== undefined)
    throw new StoreError('corrupt', `refused a name that ${fault}: ${printable(bytes)}`);
  return name!;
}

function nameFault(bytes: Uint8Array, name: string): string | undefined {
  if (bytes.length === 0) return 'is empty';
  if (bytes.length > nameBytesMax) return `has ${bytes.length} bytes, over ${nameBytesMax}`;
  if (name === '.' || name === '..') return 'means a folder';
  if (bytes.includes(0x2f)) return 'contains a slash';
  return bytes.includes(0) ? 'contains a NUL' : undefined;
}

/** Device names of Windows, with or without an extension. */
const deviceName =
  /^(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$)(?:\..*)?$/i;
const windowsSpecial = /[<>:"|?*\\\u0001-\u001f]/;

/** Why a platform cannot hold this name, or undefined. Names are refused, never changed. */
export function platformFault(name: string, platform: string): string | undefined {
  if (platform !== 'win32') return undefined;
  if (windowsSpecial.test(name)) return 'has a character that Windows does not allow';
  if (/[ .]$/.test(name)) return 'ends with a dot or a space, which Windows drops';
  return deviceName.test(name) ? 'is the name of a device' : undefined;
}

/** The parts of a path inside a snapshot: `a/b`; empty parts and `.` do not count, `..` is refused. */
export function splitPath(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw new StoreError('invalid-argument', `a path inside a snapshot has no "..": ${path}`);
  return parts;
}

/** A printable form of any bytes: what is not plain ASCII as \xNN. */
export function printable(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes.subarray(0, nameBytesMax + 1)) {
    text +=
      byte >= 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}
