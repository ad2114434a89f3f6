/** The rules about who may know whom: import arrows, cycles, orphans. */
import { importsOf, resolveOurs, type ImportOf, type SourceFile } from './source.ts';
import { inPlace, ruleFor, type Rule } from './table.ts';

function packageAllowed(specifier: string, allowed: readonly string[]): boolean {
  return allowed.some((name) => {
    if (name === '*') return true;
    if (name === 'node:*') return specifier.startsWith('node:');
    return specifier === name || specifier.startsWith(`${name}/`);
  });
}

function wrongOther(rule: Rule, specifier: string): string | undefined {
  if (packageAllowed(specifier, rule.others)) return undefined;
  return `may not import ${specifier} (${rule.place} may have: ${rule.others.join(' ') || 'nothing'})`;
}

function wrongOurs(rule: Rule, from: string, to: string, arrow: ImportOf): string | undefined {
  if (inPlace(to, rule.place) && rule.place !== '*') return undefined;
  if (rule.ours.some((pattern) => inPlace(to, pattern))) return undefined;
  const typesFit = rule.types.some((pattern) => inPlace(to, pattern));
  if (typesFit && arrow.types) return undefined;
  if (typesFit) return `may import only types of ${to} (import type …)`;
  return `may not import ${to} (the row of ${rule.place} in docs/architecture.md does not name it)`;
}

/** Every arrow that the table does not allow, and every file that no row speaks of. */
export function wrongArrows(files: readonly SourceFile[], rules: readonly Rule[]): string[] {
  const paths = new Set(files.map((file) => file.path));
  return files.flatMap((file) => {
    const rule = ruleFor(file.path, rules);
    if (rule === undefined)
      return [`${file.path}: no row of the table in docs/architecture.md speaks of this file`];
    return importsOf(file.text).flatMap((arrow) => {
      const to = resolveOurs(file.path, arrow.specifier, paths);
      const outside = !arrow.specifier.startsWith('.');
      if (to === undefined && !outside && !arrow.url && !rule.ours.includes('*')) {
        return [`${file.path}:${String(arrow.line)} imports ${arrow.specifier}, which is not a file of ours`];
      }
      const wrong = outside ? wrongOther(rule, arrow.specifier) : to && wrongOurs(rule, file.path, to, arrow);
      return wrong ? [`${file.path}:${String(arrow.line)} ${wrong}`] : [];
    });
  });
}

/** Rows that speak of nothing, and rows marked planned whose place exists. */
export function staleRows(files: readonly SourceFile[], rules: readonly Rule[]): string[] {
  return rules.flatMap((rule) => {
    const exists = files.some((file) => ruleFor(file.path, rules) === rule);
    if (exists && rule.planned)
      return [`${rule.place} exists: its row in docs/architecture.md is no longer planned`];
    if (!exists && !rule.planned) return [`${rule.place} has a row in docs/architecture.md but no file`];
    return [];
  });
}

/** Which of our files each of our files names. */
export function graphOf(files: readonly SourceFile[]): Map<string, string[]> {
  const paths = new Set(files.map((file) => file.path));
  return new Map(
    files.map((file) => {
      const to = importsOf(file.text).map((arrow) => resolveOurs(file.path, arrow.specifier, paths));
      return [file.path, to.filter((path) => path !== undefined)];
    }),
  );
}

/** Each cycle once, as `a → b → a`. A worker entry counts like any import. */
export function cycles(files: readonly SourceFile[]): string[] {
  const graph = graphOf(files);
  const done = new Set<string>();
  const found = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) found.add([...trail.slice(start), path].join(' → '));
    if (start >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return [...found].map((trail) => `cycle: ${trail}`);
}

/** Files under the given folders that nothing reaches from the entries. */
export function orphans(
  files: readonly SourceFile[],
  entries: (path: string) => boolean,
  folders: readonly string[],
): string[] {
  const graph = graphOf(files);
  const waiting = [...graph.keys()].filter(entries);
  const reached = new Set(waiting);
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    for (const next of graph.get(path) ?? []) {
      if (!reached.has(next)) waiting.push(next);
      reached.add(next);
    }
  }
  const judged = [...graph.keys()].filter((path) => folders.some((folder) => path.startsWith(folder)));
  return judged
    .filter((path) => !reached.has(path))
    .map((path) => `${path}: nothing reaches it from a door, a bin or a test`);
}
