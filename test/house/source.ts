/** Reads a TypeScript source the way the house rules need it: comments and strings told apart from code, imports listed. */

/** A file of the repository, by its path from the root with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** One arrow out of a file. `types` when it vanishes at run time, `url` when it is named by new URL(…, import.meta.url). */
export interface ImportOf {
  readonly specifier: string;
  readonly types: boolean;
  readonly url: boolean;
  readonly line: number;
}

export interface Scanned {
  /** The text with comments blanked; every offset and line is kept. */
  readonly code: string;
  /** The same with the contents of strings, templates and regular expressions blanked too. */
  readonly bare: string;
}

const regexBefore =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|delete|await|yield))\s*$/;

/** Blanks comments and literals in one pass; knows nested templates and, by what stands before the slash, regular expressions. */
export function scan(text: string): Scanned {
  const code = text.split('');
  const bare = text.split('');
  const blank = (target: string[], from: number, to: number): void => {
    for (let i = from; i < to; i++) if (target[i] !== '\n') target[i] = ' ';
  };
  /** For each open `${`, how many plain braces are open inside it. */
  const templates: number[] = [];
  let at = 0;
  const template = (from: number): void => {
    let i = from;
    while (i < text.length && text[i] !== '`') {
      if (text[i] === '\\') i++;
      else if (text[i] === '$' && text[i + 1] === '{') break;
      i++;
    }
    blank(bare, from, i);
    if (text[i] === '$') templates.push(0);
    at = text[i] === '$' ? i + 2 : i + 1;
  };
  while (at < text.length) {
    const char = text[at]!;
    const pair = text.slice(at, at + 2);
    if (pair === '//' || pair === '/*') {
      const end = pair === '//' ? text.indexOf('\n', at) : text.indexOf('*/', at + 2) + 2;
      const stop = end <= 1 ? text.length : end;
      blank(code, at, stop);
      blank(bare, at, stop);
      at = stop;
    } else if (char === '"' || char === "'") {
      let i = at + 1;
      while (i < text.length && text[i] !== char && text[i] !== '\n') i += text[i] === '\\' ? 2 : 1;
      blank(bare, at + 1, i);
      at = i + 1;
    } else if (char === '`') {
      template(at + 1);
    } else if (char === '}' && templates.at(-1) === 0) {
      templates.pop();
      template(at + 1);
    } else if (char === '/' && regexBefore.test(bare.slice(Math.max(0, at - 40), at).join(''))) {
      const end = regexEnd(text, at);
      blank(bare, at + 1, end);
      at = end + 1;
    } else {
      const last = templates.length - 1;
      if (last >= 0 && char === '{') templates[last] = templates[last]! + 1;
      if (last >= 0 && char === '}') templates[last] = templates[last]! - 1;
      at++;
    }
  }
  return { code: code.join(''), bare: bare.join('') };
}

/** The offset of the slash that ends the regular expression starting at `from`. */
function regexEnd(text: string, from: number): number {
  let inClass = false;
  for (let i = from + 1; i < text.length && text[i] !== '\n'; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '[') inClass = true;
    else if (text[i] === ']') inClass = false;
    else if (text[i] === '/' && !inClass) return i;
  }
  return from;
}

/** Every form in which one file can name another. The quote is the last thing each pattern takes. */
const forms: readonly { readonly pattern: RegExp; readonly url: boolean }[] = [
  {
    pattern: /\bimport\s+(type\s+)?(?:[\w$]+\s*,?\s*)?(\{[^}]*\}|\*\s*as\s+[\w$]+)?\s*from\s*['"]/g,
    url: false,
  },
  { pattern: /\bexport\s+(type\s+)?(\{[^}]*\}|\*(?:\s*as\s+[\w$]+)?)\s*from\s*['"]/g, url: false },
  { pattern: /\bimport\s*['"]/g, url: false },
  { pattern: /\bimport\s*\(\s*['"`]/g, url: false },
  { pattern: /\bimport\.meta\.resolve\s*\(\s*['"`]/g, url: false },
  { pattern: /\brequire(?:\.resolve)?\s*\(\s*['"`]/g, url: false },
  { pattern: /\bnew\s+URL\s*\(\s*['"`](?=[^)]*import\.meta\.url)/g, url: true },
];

function onlyTypes(match: RegExpMatchArray): boolean {
  if (match[1] !== undefined) return true;
  const names = match[2]?.startsWith('{') === true ? match[2].slice(1, -1).split(',') : [];
  const real = names.map((name) => name.trim()).filter((name) => name !== '');
  return (
    real.length > 0 && real.every((name) => name.startsWith('type ')) && !/import\s+[\w$]+\s*,/.test(match[0])
  );
}

/** All imports of a file, `import type`, dynamic imports and worker entries included; a template counts up to its first `${`. */
export function importsOf(text: string): ImportOf[] {
  const { code, bare } = scan(text);
  const found: ImportOf[] = [];
  for (const { pattern, url } of forms) {
    for (const match of bare.matchAll(pattern)) {
      const start = match.index + match[0].length;
      const quote = bare[start - 1]!;
      const literal = code.slice(start, code.indexOf(quote, start));
      const specifier = literal.split('${')[0]!;
      if (url && !specifier.startsWith('.')) continue;
      const line = code.slice(0, match.index).split('\n').length;
      found.push({ specifier, types: onlyTypes(match), url, line });
    }
  }
  return found.sort((a, b) => a.line - b.line);
}

/** The repository path a relative specifier means, if it is one of ours; `.js` and a missing extension mean `.ts`. */
export function resolveOurs(from: string, specifier: string, paths: ReadonlySet<string>): string | undefined {
  const parts = from.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  const path = parts.join('/');
  const tries = [path, path.replace(/\.js$/, '.ts'), `${path}.ts`, `${path.replace(/\.$/, '')}.ts`];
  return tries.find((candidate) => candidate.endsWith('.ts') && paths.has(candidate));
}
