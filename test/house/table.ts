/** Reads the import rules out of the table in docs/architecture.md. */

/** What one place may import. Patterns are paths (`engine/codec/`, `engine/errors.ts`, `engine/*.ts`) or package names; `*` is anything. */
export interface Rule {
  readonly place: string;
  readonly planned: boolean;
  readonly ours: readonly string[];
  /** Our paths of which only types may be imported. */
  readonly types: readonly string[];
  readonly others: readonly string[];
}

/** `a/{b,c}.ts` is `a/b.ts` and `a/c.ts`. */
export function expandBraces(pattern: string): string[] {
  const match = /^([^{]*)\{([^}]*)\}(.*)$/.exec(pattern);
  if (match === null) return [pattern];
  return match[2]!.split(',').flatMap((part) => expandBraces(`${match[1]!}${part.trim()}${match[3]!}`));
}

function tokens(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].flatMap((match) => expandBraces(match[1]!));
}

/**
 * The rules of the first table whose header starts with `| place |`. In its cells only words in backticks count. After
 * "types of" in the second column the rest of the cell is for types only; "planned" in the first marks what is not built yet.
 */
export function parseRules(markdown: string): Rule[] {
  const lines = markdown.split('\n');
  const head = lines.findIndex((line) => /^\|\s*place\s*\|/.test(line));
  if (head < 0) return [];
  const rules: Rule[] = [];
  for (const line of lines.slice(head + 2)) {
    if (!line.startsWith('|')) break;
    const [, places = '', ours = '', others = ''] = line.split('|');
    const [values = '', types = ''] = ours.split('types of');
    const shared = { ours: tokens(values), types: tokens(types), others: tokens(others) };
    for (const place of tokens(places)) rules.push({ place, planned: places.includes('planned'), ...shared });
  }
  return rules;
}

/** Does the path lie in the place a pattern names? */
export function inPlace(path: string, pattern: string): boolean {
  if (pattern === '*') return true;
  if (pattern.endsWith('/')) return path.startsWith(pattern);
  if (pattern.endsWith('/*.ts')) return path.slice(0, path.lastIndexOf('/')) === pattern.slice(0, -5);
  return path === pattern;
}

/** The rule for a path: the most exact place wins. */
export function ruleFor(path: string, rules: readonly Rule[]): Rule | undefined {
  const exactness = (rule: Rule): number => (rule.place === path ? 1_000 : rule.place.length);
  const fitting = rules.filter((rule) => inPlace(path, rule.place));
  return fitting.sort((a, b) => exactness(b) - exactness(a))[0];
}
