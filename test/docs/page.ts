/** Reads the pages of the documentation: sections, code blocks, tables. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository: string = fileURLToPath(new URL('../../', import.meta.url));

/** The text of a page, by its path from the repository's root. */
export function page(path: string): string {
  return readFileSync(join(repository, path), 'utf8');
}

/** README.md where there is one, and all pages directly in docs/. */
export function pages(): string[] {
  const docs = readdirSync(join(repository, 'docs')).filter((name) => name.endsWith('.md'));
  const top = existsSync(join(repository, 'README.md')) ? ['README.md'] : [];
  return [...top, ...docs.sort().map((name) => `docs/${name}`)];
}

export interface CodeBlock {
  /** What stands behind the fence: `ts`, `hex record`, … */
  readonly language: string;
  readonly text: string;
  /** Line of the fence, from 1. */
  readonly line: number;
}

export function codeBlocks(text: string): CodeBlock[] {
  const found: CodeBlock[] = [];
  let open: { language: string; line: number; lines: string[] } | undefined;
  for (const [i, line] of text.split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === undefined) open = { language: fence[1]!.trim(), line: i + 1, lines: [] };
    else {
      found.push({ language: open.language, line: open.line, text: open.lines.join('\n') });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`the code block of line ${open.line} has no end`);
  return found;
}

/** What stands under a heading, up to the next one of its rank or a higher one. */
export function sectionOf(text: string, heading: string): string {
  const lines = text.split('\n');
  const start = lines.indexOf(heading);
  if (start < 0) throw new Error(`there is no heading ${heading}`);
  const rank = /^#+/.exec(heading)![0].length;
  const length = lines
    .slice(start + 1)
    .findIndex((line) => /^#+ /.test(line) && /^#+/.exec(line)![0].length <= rank);
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join('\n');
}

/** The first cells of the first table in a text, without its head. */
export function tableColumn(text: string): string[] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => /^\| ?-/.test(line));
  if (start < 0) return [];
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(0, end < 0 ? undefined : end).map((line) => line.split('|')[1]!.trim());
}
