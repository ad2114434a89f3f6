/** The rules about single files: purpose line, names, depth, length, what the machine may be asked, exact versions, links. */
import { scan, type SourceFile } from './source.ts';

/** The first line of every file says what it is for; a program's `#!` line may stand before it. */
export function missingPurpose(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.split('\n');
    const first = (lines[0]?.startsWith('#!') === true ? lines[1] : lines[0]) ?? '';
    const sentence = /^(?:\/\/|\/\*\*) (.{12,}?)(?: \*\/)?$/.exec(first)?.[1];
    const fine = sentence !== undefined && /^[A-Z`'"]|^holdfast/.test(sentence) && sentence.includes(' ');
    return fine ? [] : [`${path}:1 must be a comment of one sentence that says what the file is for`];
  });
}

const homeless = /^(?:utils?|helpers?|common|misc)$/i;

export function badNames(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    const bad = path.split('/').find((part) => homeless.test(part.split('.')[0]!));
    return bad === undefined ? [] : [`${path}: "${bad}" names no thing; find the noun`];
  });
}

export const depthMax = 3;

export function tooDeep(paths: readonly string[]): string[] {
  const deep = paths.filter((path) => path.split('/').length - 1 > depthMax);
  return deep.map((path) => `${path}: deeper than ${String(depthMax)} folders`);
}

export const linesMax = 400;

export function tooLong(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const lines = text.split('\n').length - 1;
    return lines > linesMax
      ? [`${path}: ${String(lines)} lines, over ${String(linesMax)}: split it along a noun`]
      : [];
  });
}

/** Barrels hide who knows whom: `index.ts` is for doors, and only doors export everything of another file. */
export function barrels(files: readonly SourceFile[], doors: readonly string[]): string[] {
  return files.flatMap(({ path, text }) => {
    if (doors.includes(path)) return [];
    if (path.endsWith('/index.ts')) return [`${path}: index.ts is the name of a door (${doors.join(', ')})`];
    return /\bexport\s+(?:type\s+)?\*\s*(?:as\s+\w+\s+)?from/.test(scan(text).bare)
      ? [`${path}: export * outside a door`]
      : [];
  });
}

const machine: readonly { readonly pattern: RegExp; readonly what: string }[] = [
  { pattern: /\bDate\s*\.\s*now\b/, what: 'Date.now' },
  { pattern: /\bnew\s+Date\s*(?:\(\s*\)|(?!\s*\(|\w))/, what: 'new Date()' },
  { pattern: /(?<!new\s+|[.\w])Date\s*\(/, what: 'Date()' },
  { pattern: /\bperformance\s*\.\s*now\b/, what: 'performance.now' },
  { pattern: /\bprocess\s*\.\s*hrtime\b/, what: 'process.hrtime' },
  { pattern: /\bMath\s*\.\s*random\b/, what: 'Math.random' },
  { pattern: /\b(?:randomBytes|randomUUID|getRandomValues|randomFillSync)\b/, what: 'randomness' },
  { pattern: /(?:(?<![.\w])|globalThis\s*\.\s*)(?:setTimeout|setInterval|setImmediate)\b/, what: 'a timer' },
  { pattern: /\bAbortSignal\s*\.\s*timeout\b/, what: 'AbortSignal.timeout' },
];

/** Clock, randomness and files reached past the Host. The caller leaves out the hosts themselves. */
export function pastTheHost(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const { code, bare } = scan(text);
    const lines = bare.split('\n');
    const found = lines.flatMap((line, index) =>
      machine
        .filter(({ pattern }) => pattern.test(line))
        .map(({ what }) => `${path}:${String(index + 1)} uses ${what}; ask the Host`),
    );
    const files = /['"`]((?:node:)?(?:fs|timers)(?:\/promises)?)['"`]/.exec(code);
    return files === null ? found : [...found, `${path}: names ${files[1]!}; ask the Host`];
  });
}

/** Dependencies that are not pinned to one version. */
export function looseVersions(packageJson: string): string[] {
  const manifest = JSON.parse(packageJson) as Record<string, unknown>;
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'];
  return kinds.flatMap((kind) => {
    const wanted = Object.entries((manifest[kind] ?? {}) as Record<string, string>);
    const loose = wanted.filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version));
    return loose.map(([name, version]) => `${kind}: ${name} "${version}" is not one exact version`);
  });
}

/** Relative links and images of a page, without their #anchor; code is skipped. */
export function linksOf(markdown: string): string[] {
  const prose = markdown.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
  const targets = [...prose.matchAll(/\]\(\s*<?([^)\s>]+)/g)].map((match) => match[1]!);
  const relative = targets.filter((target) => !/^(?:[a-z][a-z+.-]*:|#|\/\/)/i.test(target));
  return relative.map((target) => decodeURIComponent(target.split('#')[0]!.split('?')[0]!));
}
