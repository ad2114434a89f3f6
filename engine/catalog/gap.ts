/** What a rebuild could not bring back, kept in the catalog until somebody accepts it: collection waits for that. */
import type { Statements } from './statements.ts';

export interface Gap {
  /** Why there may have been roots and owners that are not known any more; empty when there were not. Lasts over further rebuilds. */
  readonly log: string;
  /** What is referred to and was not found; empty when all of it was. */
  readonly lost: string;
}

export const noGap: Gap = { log: '', lost: '' };

export function readGap(sql: Statements): Gap {
  const text = sql.values(`SELECT value FROM meta WHERE key = 'gap'`).get() as string | undefined;
  return text === undefined ? noGap : (JSON.parse(text) as Gap);
}

/** In one sentence; empty where there is none. */
export function gapText({ log, lost }: Gap): string {
  return [log, lost].filter((part) => part !== '').join('; ');
}

/** Why collection waits until a gap is accepted; empty where there is none. */
export function waitingGap(sql: Statements): string {
  const gap = gapText(readGap(sql));
  return gap === '' ? '' : `${gap}; "holdfast rebuild --accept-gap" accepts that`;
}

/** In a running transaction. */
export function writeGap(sql: Statements, { log, lost }: Gap): void {
  sql.rows(`INSERT OR REPLACE INTO meta (key, value) VALUES ('gap', ?)`).run(JSON.stringify({ log, lost }));
}
