/** Sizes, counts, times and modes as people write and read them. */
import { UsageError } from './exit.ts';

const sizes = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `1.4 MB`: powers of 1,000, as file managers show them. */
export function showBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 999.5 && unit < sizes.length - 1; unit++) value /= 1000;
  if (unit === 0) return `${Math.round(bytes)} ${Math.round(bytes) === 1 ? 'byte' : 'bytes'}`;
  return `${value.toFixed(value < 9.95 ? 1 : 0)} ${sizes[unit]!}`;
}

export function showRate(bytes: number, seconds: number): string {
  return seconds > 0 ? `${showBytes(bytes / seconds)}/s` : '';
}

/** What a scrub reads: in a mirrored group each blob as often as it is kept. */
export function showCopies(count: number, copies: number): string {
  return copies === 1 ? showCount(count, 'blob') : showCount(count, 'copy', 'copies');
}

/** `1,234 files`. */
export function showCount(count: number, one: string, many: string = `${one}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;
}

/** `0.4 s`, `12 s`, `3:05`, `2:03:05`. */
export function showSeconds(seconds: number): string {
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, '0');
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, '0')}:${tail}` : `${minutes}:${tail}`;
}

/** Local time to the minute. */
export function showTime(ms: number): string {
  const time = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** `rw-r--r--`, with the letters of ls for the special bits. */
export function showMode(mode: number): string {
  const letter = (bit: number, name: string): string => ((mode & bit) === 0 ? '-' : name);
  const execute = (bit: number, special: number, name: string): string => {
    if ((mode & special) === 0) return letter(bit, 'x');
    return (mode & bit) === 0 ? name.toUpperCase() : name;
  };
  const owner = letter(0o400, 'r') + letter(0o200, 'w') + execute(0o100, 0o4000, 's');
  const group = letter(0o040, 'r') + letter(0o020, 'w') + execute(0o010, 0o2000, 's');
  return owner + group + letter(0o004, 'r') + letter(0o002, 'w') + execute(0o001, 0o1000, 't');
}

const milliseconds: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** Milliseconds of `24h`, `10m`, `90s`, `7d`, `500ms` or `0`. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/.exec(text);
  const value = text === '0' ? 0 : match === null ? Number.NaN : Number(match[1]) * milliseconds[match[2]!]!;
  if (!Number.isFinite(value))
    throw new UsageError(`not a duration: ${JSON.stringify(text)}; write 24h, 10m, 90s, 7d or 0`);
  return value;
}

/** Bytes of `1000000`, `1.5 GB`, `500MB` or `20kB`: powers of 1,000, as they are shown. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(bytes|kB|MB|GB|TB|PB)?$/i.exec(text);
  const unit = sizes.findIndex((size) => size.toLowerCase() === (match?.[2] ?? 'bytes').toLowerCase());
  const value = match === null ? Number.NaN : Math.floor(Number(match[1]) * 1000 ** unit);
  if (!Number.isSafeInteger(value))
    throw new UsageError(`not a size: ${JSON.stringify(text)}; write 1000000, 500MB or 1.5GB`);
  return value;
}

/** A name with an escape sequence in it must not reach the terminal. */
export function showName(name: string): string {
  return name.replace(
    /[\u0000-\u001f\u007f-\u009f]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
