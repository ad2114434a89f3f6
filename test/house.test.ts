/** Keeps the house: applies the rules of docs/architecture.md to every file of the repository. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cycles, orphans, staleRows, wrongArrows } from './house/arrows.ts';
import { type SourceFile, importsOf, resolveOurs } from './house/source.ts';
import { inPlace, parseRules } from './house/table.ts';
import {
  badNames,
  barrels,
  linksOf,
  looseVersions,
  missingPurpose,
  pastTheHost,
  tooDeep,
  tooLong,
} from './house/tidy.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const tops = ['engine', 'sync', 'src', 'test', 'bench', 'fuzz', 'docs'];
const doors = ['engine/index.ts', 'sync/index.ts', 'src/index.ts', 'test/conformance/index.ts'];
/** Folders whose bytes are data, or whose packages are not ours. */
const foreign = ['test/golden/', 'fuzz/corpus/', 'bench/rivals/'];

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function everyPath(): string[] {
  const found = tops
    .filter((top) => existsSync(join(root, top)))
    .flatMap((top) =>
      readdirSync(join(root, top), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(root.length).replaceAll('\\', '/')),
    );
  return found
    .filter((path) => !path.includes('node_modules/') && !foreign.some((folder) => path.startsWith(folder)))
    .sort();
}

function none(problems: readonly string[]): void {
  if (problems.length > 0) assert.fail(`\n${problems.join('\n')}\n`);
}

const paths = everyPath();
const files: readonly SourceFile[] = paths
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path, text: read(path) }));
const shipped = files.filter(({ path }) => /^(?:engine|sync|src)\//.test(path));
const rules = parseRules(read('docs/architecture.md'));

test('the import table is there', () => {
  assert.ok(rules.length > 20, `only ${String(rules.length)} rules were read from docs/architecture.md`);
});

test('no import arrow that the table does not allow', () => none(wrongArrows(files, rules)));

test('the table speaks of what exists', () => none(staleRows(files, rules)));

test('no cycles', () => none(cycles(files)));

test('the door of the engine loads what the calling thread runs; what threads run, they load', () => {
  const known = new Set(shipped.map(({ path }) => path));
  const texts = new Map(shipped.map(({ path, text }) => [path, text]));
  const loaded = new Set(['engine/index.ts']);
  for (const path of loaded)
    for (const { specifier, types, url } of importsOf(texts.get(path)!)) {
      const target = types || url ? undefined : resolveOurs(path, specifier, known);
      if (target !== undefined) loaded.add(target);
    }
  const places = ['catalog', 'content', 'commit', 'keys', 'maintenance', 'volumes', 'threads'];
  const heavy = [...loaded].filter((path) => places.some((place) => inPlace(path, `engine/${place}/`)));
  // Small files without imports of their own to speak of. One that draws in a reader or the committer costs every start 50 ms.
  assert.deepEqual(heavy.sort(), [
    'engine/catalog/blob-rows.ts',
    'engine/catalog/layout.ts',
    'engine/commit/superblock-file.ts',
    'engine/content/giving-way.ts',
    'engine/content/goal.ts',
    'engine/content/incarnation.ts',
    'engine/content/pace.ts',
    'engine/content/report-limits.ts',
    'engine/maintenance/timetable.ts',
  ]);
});

test('no orphan files', () => {
  const bins = Object.values((JSON.parse(read('package.json')) as { bin: Record<string, string> }).bin);
  const programs = [
    ...bins.map((path) => path.replace(/^dist\//, '').replace(/\.js$/, '.ts')),
    'src/cli/start.ts',
  ];
  const entry = (path: string): boolean =>
    doors.includes(path) ||
    programs.includes(path) ||
    path.endsWith('.test.ts') ||
    inPlace(path, 'test/crash/');
  none(orphans(files, entry, ['engine/', 'sync/', 'src/', 'test/conformance/', 'test/house/']));
});

test('the first line of every file says its purpose', () => none(missingPurpose(files)));

test('names are nouns', () => none(badNames(paths)));

test('no folder deeper than three', () => none(tooDeep(paths)));

test('no shipped file over 400 lines', () => none(tooLong(shipped)));

test('no barrels but the doors', () => none(barrels(shipped, doors)));

test('the machine is reached through Host', () => {
  none(
    pastTheHost(shipped.filter(({ path }) => !path.startsWith('src/') && !path.startsWith('engine/hosts/'))),
  );
});

test('every dependency is one exact version', () => {
  none([...looseVersions(read('package.json')), ...looseVersions(read('test/toolchain/package.json'))]);
});

test('the README exists, and every relative link of a page resolves', () => {
  assert.ok(existsSync(join(root, 'README.md')), 'README.md is missing');
  const tops = readdirSync(root).filter((name) => name.endsWith('.md'));
  const pages = [...tops, ...paths.filter((path) => path.startsWith('docs/') && path.endsWith('.md'))];
  const broken = pages.flatMap((page) => {
    const dead = linksOf(read(page)).filter((link) => !existsSync(join(root, dirname(page), link)));
    return dead.map((link) => `${page}: ${link} leads nowhere`);
  });
  none(broken);
});
