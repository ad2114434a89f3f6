/** The house rules can fail: each is given a small house with one thing wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cycles, orphans, staleRows, wrongArrows } from './arrows.ts';
import { importsOf, scan, type SourceFile } from './source.ts';
import { parseRules, ruleFor } from './table.ts';
import * as tidy from './tidy.ts';

const page = `
# A page

| place | may import of ours | third party and node |
| --- | --- | --- |
| \`engine/errors.ts\` | types of \`engine/host.ts\` | nothing |
| \`engine/{host,volume}.ts\` (contracts) | types of \`engine/errors.ts\` | nothing |
| \`engine/codec/\` | \`engine/errors.ts\` | \`cborg\` |
| \`engine/threads/\` | \`engine/codec/\` | \`node:worker_threads\` |
| \`engine/*.ts\` | \`engine/codec/\` \`engine/*.ts\` | \`p-queue\` |
| \`engine/index.ts\` | \`engine/\` | \`better-sqlite3\` |
| \`engine/keys/\` (planned) | nothing | nothing |
| \`test/\` | \`*\` | \`*\` |

| other | table |
`;
const rules = parseRules(page);

function house(contents: Readonly<Record<string, string>>): SourceFile[] {
  return Object.entries(contents).map(([path, text]) => ({ path, text }));
}

const sound = {
  'engine/errors.ts': "import type { Host } from './host.ts';",
  'engine/host.ts': '',
  'engine/codec/node.ts':
    "import { E } from '../errors.ts';\nimport * as cbor from 'cborg';\nimport { b } from './bytes.ts';",
  'engine/codec/bytes.ts': '',
  'engine/threads/work.ts': "import '../codec/node.ts';\nimport { parentPort } from 'node:worker_threads';",
  'engine/store.ts': "import PQueue from 'p-queue';\nimport { n } from './codec/node.ts';",
  'engine/index.ts':
    "export { s } from './store.ts';\nconst u = new URL('./threads/work.ts', import.meta.url);",
  'test/a.test.ts': "import { s } from '../engine/store.ts';\nimport fc from 'fast-check';",
};

function problemsOf(changes: Readonly<Record<string, string>>): string[] {
  return wrongArrows(house({ ...sound, ...changes }), rules);
}

test('the table is read: braces, planned, types, the most exact place', () => {
  assert.equal(rules.length, 9);
  assert.equal(ruleFor('engine/index.ts', rules)?.place, 'engine/index.ts');
  assert.equal(ruleFor('engine/store.ts', rules)?.place, 'engine/*.ts');
  assert.equal(ruleFor('engine/volume.ts', rules)?.place, 'engine/volume.ts');
  assert.equal(ruleFor('engine/other/x.ts', rules), undefined);
  assert.deepEqual(ruleFor('engine/host.ts', rules)?.types, ['engine/errors.ts']);
  assert.deepEqual(parseRules('no table'), []);
});

test('a sound house passes', () => {
  assert.deepEqual(problemsOf({}), []);
  assert.deepEqual(cycles(house(sound)), []);
  assert.deepEqual(
    orphans(house(sound), (path) => path === 'engine/index.ts', ['engine/codec/', 'engine/threads/']),
    [],
  );
});

const forbidden: Readonly<Record<string, readonly [path: string, text: string]>> = {
  'an upward import': ['engine/codec/bytes.ts', "import { s } from '../store.ts';"],
  'an upward import type': ['engine/codec/bytes.ts', "import type { S } from '../store.ts';"],
  'an import over several lines': [
    'engine/codec/bytes.ts',
    "import {\n  a,\n  type b,\n} from '../store.ts';",
  ],
  'a side effect': ['engine/codec/bytes.ts', "import '../store.ts';"],
  'a re-export': ['engine/codec/bytes.ts', "export { s } from '../store.ts';"],
  'a star re-export': ['engine/codec/bytes.ts', "export * from '../store.ts';"],
  'a dynamic import': ['engine/codec/bytes.ts', "const s = await import('../store.ts');"],
  'a type import expression': ['engine/codec/bytes.ts', "let s: import('../store.ts').S;"],
  'a value where types are allowed': ['engine/host.ts', "import { E } from './errors.ts';"],
  'one value among types': ['engine/host.ts', "import { type A, E } from './errors.ts';"],
  'a worker entry by URL': ['engine/store.ts', "start(new URL('./threads/work.ts', import.meta.url));"],
  'a worker entry by template': [
    'engine/store.ts',
    'start(new URL(`./threads/work.${ext}`, import.meta.url));',
  ],
  'a worker entry by sum': ['engine/store.ts', "start(new URL('./threads/work' + ext, import.meta.url));"],
  'a package of another place': ['engine/codec/bytes.ts', "import Database from 'better-sqlite3';"],
  'a resolved package': ['engine/store.ts', "const at = import.meta.resolve('better-sqlite3');"],
  'a required package': ['engine/store.ts', "const D = require('better-sqlite3');"],
  'a node module': ['engine/store.ts', "import * as fs from 'node:fs';"],
  'a place without a row': ['engine/other/x.ts', '/** Nothing speaks of this. */'],
  'a file that is not there': ['engine/store.ts', "import { x } from './gone.ts';"],
};
for (const [what, [path, text]] of Object.entries(forbidden)) {
  test(`caught: ${what}`, () => {
    const problems = problemsOf({ [path]: text });
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.ok(problems[0]!.startsWith(path), problems[0]);
  });
}

test('comments, strings and regular expressions are not imports', () => {
  const text = [
    "// import { s } from '../store.ts';",
    "/* import '../store.ts' */",
    'const a = "import x from \'../store.ts\'";',
    "const r = /import ['\"]/; const t = `import '../x.ts' ${f(`import 'y' ${1}`)} import '../z.ts'`;",
    "import { real } from './bytes.ts'; const half = a / b / c; // it's",
  ].join('\n');
  assert.deepEqual(
    importsOf(text).map((found) => found.specifier),
    ['./bytes.ts'],
  );
  const { code, bare } = scan(text);
  assert.equal(code.length, text.length);
  assert.equal(bare.length, text.length);
});

test('caught: cycles, of types and of three', () => {
  const two = house({ 'a.ts': "import type { B } from './b.ts';", 'b.ts': "import { a } from './a.ts';" });
  assert.deepEqual(cycles(two), ['cycle: a.ts → b.ts → a.ts']);
  const three = house({
    'a.ts': "import './b.ts';",
    'b.ts': "import './c.ts';",
    'c.ts': "import './a.ts';",
    'd.ts': "import './c.ts';",
  });
  assert.equal(cycles(three).length, 1);
});

test('caught: an orphan, and two orphans that know each other', () => {
  const files = house({
    ...sound,
    'engine/codec/a.ts': "import './b.ts';",
    'engine/codec/b.ts': "import './a.ts';",
  });
  const found = orphans(files, (path) => path === 'engine/index.ts', ['engine/codec/']);
  assert.deepEqual(
    found.map((line) => line.split(':')[0]),
    ['engine/codec/a.ts', 'engine/codec/b.ts'],
  );
});

test('caught: rows that speak of nothing, and planned rows that came true', () => {
  const stale = staleRows(house({ ...sound, 'engine/keys/slots.ts': '' }), rules);
  assert.deepEqual(
    stale.map((line) => line.split(' ')[0]),
    ['engine/volume.ts', 'engine/keys/'],
  );
});

test('caught: a file without a purpose', () => {
  const purpose = (text: string): number => tidy.missingPurpose(house({ 'a.ts': text })).length;
  assert.equal(purpose('/** Says what this is for. */\n'), 0);
  assert.equal(purpose('/** Says what this is for, and\n * more. */\n'), 0);
  assert.equal(purpose('#!/usr/bin/env node\n// Says what this is for.\n'), 0);
  assert.equal(purpose("import a from 'a';\n"), 1);
  assert.equal(purpose('/**\n * Too late.\n */\n'), 1);
  assert.equal(purpose('// eslint-disable\n'), 1);
  assert.equal(purpose(''), 1);
});

test('caught: names, depth, length, barrels', () => {
  assert.equal(
    tidy.badNames(['src/utils/a.ts', 'src/helpers.ts', 'src/x/common.test.ts', 'src/utility.ts']).length,
    3,
  );
  assert.equal(tidy.tooDeep(['a/b/c/d.ts', 'a/b/c/d/e.ts']).length, 1);
  assert.equal(tidy.tooLong(house({ 'a.ts': 'x\n'.repeat(400), 'b.ts': 'x\n'.repeat(401) })).length, 1);
  const star = house({
    'engine/index.ts': "export * from './a.ts';",
    'engine/a.ts': "export * from './b.ts';",
    'src/x/index.ts': '',
  });
  assert.equal(tidy.barrels(star, ['engine/index.ts']).length, 2);
});

test('caught: clock, randomness, timers and files past the Host', () => {
  const past = [
    'const t = Date.now();',
    'const d = new Date();',
    'const d = new Date;',
    'const s = Date();',
    'const r = Math.random();',
    'setTimeout(f, 1);',
    'globalThis.setInterval(f, 1);',
    'await new Promise((r) => setImmediate(r));',
    'performance.now();',
    'crypto.randomUUID();',
    'AbortSignal.timeout(5);',
    "import * as fs from 'node:fs';",
    "await import('fs/promises');",
    "import { setTimeout as wait } from 'node:timers/promises';",
  ];
  for (const text of past) assert.ok(tidy.pastTheHost(house({ 'a.ts': text })).length > 0, text);
  const fine = [
    'const d = new Date(ms);',
    'clock.setTimeout(1);',
    '// Date.now',
    "const s = 'Math.random';",
    'new DateRange();',
  ];
  for (const text of fine) assert.deepEqual(tidy.pastTheHost(house({ 'a.ts': text })), [], text);
});

test('caught: versions that are not exact', () => {
  const manifest = { dependencies: { a: '1.2.3', b: '^1.2.3' }, devDependencies: { c: 'latest' } };
  assert.equal(tidy.looseVersions(JSON.stringify(manifest)).length, 2);
});

test('links are read, code and addresses are not', () => {
  const text =
    'see [a](a.md#x), [b](https://x.org), ![c](<c.png>), `[d](d.md)`\n```\n[e](e.md)\n```\n[f](#here)';
  assert.deepEqual(tidy.linksOf(text), ['a.md', 'c.png']);
});
