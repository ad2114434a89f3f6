/** Findings that are known and not mended yet: counted, and told, but no failure. Whoever mends one takes its line away. */

export interface Known {
  readonly job: string;
  /** Beginning of the message. */
  readonly message: string;
  /** What is to be done. */
  readonly mend: string;
}

export const known: readonly Known[] = [
  {
    job: 'record',
    message: 'accepted a number that is no safe integer',
    mend: 'readRecord gives NaN for an incarnation, offset or size over 53 bits',
  },
  {
    job: 'record',
    message: 'accepted bytes that encoding does not give back',
    mend: 'readRecord overlooks flags that it does not know',
  },
  {
    job: 'root-log',
    message: 'accepted a number that is no safe integer',
    mend: 'decodeLogRecord gives NaN for a sequence or time over 53 bits',
  },
  {
    job: 'root-log',
    message: 'accepted bytes that encoding does not give back',
    mend: 'decodeLogRecord takes names that are not UTF-8, and an id where there is none',
  },
  {
    job: 'superblock',
    message: 'threw ',
    mend: 'decodeSuperblock throws SyntaxError and TypeError for JSON of another shape',
  },
  {
    job: 'superblock',
    message: 'accepted ',
    mend: 'decodeSuperblock does not look at the fields of the JSON',
  },
  {
    job: 'entry',
    message: 'accepted bytes that encoding does not give back',
    mend: 'decodeEntry takes times finer than the microseconds that encodeEntry writes',
  },
  {
    job: 'address',
    message: 'threw StoreError corrupt: not a node',
    mend: 'an address whose root or id is a raw blob is told as damage (exit 3), and is only a mistake',
  },
];

export function isKnown(job: string, message: string): boolean {
  return known.some((one) => one.job === job && message.startsWith(one.message));
}
