/** The recovery key: 256 random bits in letters that can be read aloud, written down and typed back. */
import { concatBytes } from '../codec/bytes.ts';
import type { Provider } from '../codec/provider.ts';
import { keyBytes } from '../codec/seal-header.ts';
import { StoreError } from '../errors.ts';

/** Crockford's base 32: no I, L, O, U. 32 bytes of key and 3 of checksum are 56 letters without a bit left over. */
const letters = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const checkBytes = 3;
const letterCount = ((keyBytes + checkBytes) * 8) / 5;
const groupLetters = 7;

/** Eight groups of seven letters. */
export function printRecoveryKey(provider: Provider, key: Uint8Array): string {
  const bytes = concatBytes(key, checkOf(provider, key));
  let text = '';
  let [bits, held] = [0, 0];
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += letters[(held >> bits) & 31];
    }
  }
  bytes.fill(0);
  return text.match(new RegExp(`.{${groupLetters}}`, 'g'))!.join('-');
}

/** Takes it in either case, with any blanks and dashes, O for 0 and I or L for 1. `invalid-argument` for a typo. */
export function decodeRecoveryKey(provider: Provider, text: string): Uint8Array {
  const plain = text.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1');
  if (plain.length !== letterCount)
    throw refused(`a recovery key has ${letterCount} letters and digits, not ${plain.length}`);
  const bytes = new Uint8Array(keyBytes + checkBytes);
  let [bits, held, at] = [0, 0, 0];
  for (const letter of plain) {
    const value = letters.indexOf(letter);
    // Which one it was is not said: the message may be logged.
    if (value < 0) throw refused('a recovery key has letters and digits only, and no U');
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = (held >> bits) & 0xff;
  }
  const key = bytes.slice(0, keyBytes);
  const check = checkOf(provider, key);
  if (check.some((byte, i) => byte !== bytes[keyBytes + i]))
    throw refused('the recovery key has a typo: its checksum does not hold');
  bytes.fill(0);
  return key;
}

/** The first 3 bytes of sha256("holdfast/v1/recovery-key" ‖ key): one typo in 16 million passes, and then does not open. */
function checkOf(provider: Provider, key: Uint8Array): Uint8Array {
  const label = new TextEncoder().encode('holdfast/v1/recovery-key');
  return provider.sha256(concatBytes(label, key)).slice(0, checkBytes);
}

function refused(why: string): StoreError {
  return new StoreError('invalid-argument', why);
}
