/** Every test that the pages name exists under that name, every decision keeps its form, and nothing that users ask for by code is left out. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCodes } from '../../engine/errors.ts';
import { exitCodes } from '../../src/cli/exit.ts';
import { readLedger, reachedTable } from '../crash/ledger.ts';
import { page, pages, repository, sectionOf, tableColumn } from './page.ts';

interface Citation {
  readonly from: string;
  readonly path: string;
  readonly names: readonly string[];
}

/** `[test/a.test.ts](../test/a.test.ts): “a name”, “another”`: the names belong to the last file before them on the line. */
function citations(from: string): Citation[] {
  const found: Citation[] = [];
  for (const line of page(from).split('\n')) {
    const pieces = line.split(/\[(test\/[\w./-]+\.test\.ts)\]\([^)]+\)/);
    for (let i = 1; i < pieces.length; i += 2) {
      const names = [...pieces[i + 1]!.matchAll(/(?:^: |, )“([^”]+)”/g)].map((match) => match[1]!);
      found.push({ from, path: pieces[i]!, names });
    }
  }
  return found;
}

test('the tests that are named are there, under these names', () => {
  const all = pages().flatMap(citations);
  assert.ok(all.filter(({ from }) => from === 'docs/guarantees.md').length > 10, 'citations are found');
  const missing = all.flatMap(({ from, path, names }) => {
    if (!existsSync(join(repository, path))) return [`${from}: there is no ${path}`];
    const text = page(path).replaceAll("\\'", "'");
    return names
      .filter((name) => !text.includes(name))
      .map((name) => `${from}: no test “${name}” in ${path}`);
  });
  assert.deepEqual(missing, []);
});

test('every promise has tests, or says that there is nothing to test', () => {
  const text = page('docs/guarantees.md');
  const promises = [...text.matchAll(/^## P\d+ .+$/gm)].map((match) => match[0]);
  assert.ok(promises.length >= 7);
  const untested = promises.filter((heading) => !sectionOf(text, heading).includes('**Tests.**'));
  assert.deepEqual(untested, []);
});

test('decisions are numbered, short, and say choice, reasons and price', () => {
  const names = readdirSync(join(repository, 'docs/decisions')).sort();
  assert.ok(names.length > 0);
  names.forEach((name, i) => {
    const number = String(i + 1).padStart(4, '0');
    assert.match(name, new RegExp(`^${number}-[a-z0-9-]+\\.md$`));
    const text = page(`docs/decisions/${name}`);
    assert.ok(text.startsWith(`# ${number} `), `${name} begins with its number`);
    assert.ok(text.trimEnd().split('\n').length <= 40, `${name} has at most 40 lines`);
    for (const part of ['**Choice.**', '**Reasons.**', '**Price.**'])
      assert.ok(text.includes(part), `${name} has ${part}`);
  });
});

test('operations.md explains every error code and every exit code', () => {
  const text = page('docs/operations.md');
  const codes = tableColumn(sectionOf(text, '## Errors')).map((cell) => cell.replaceAll('`', ''));
  assert.deepEqual(codes.toSorted(), [...errorCodes].sort());
  const exits = tableColumn(sectionOf(text, '## Exit codes')).map(Number);
  for (const code of Object.values(exitCodes)) assert.ok(exits.includes(code), `exit code ${code}`);
});

test('operations.md shows every verb of the command line', () => {
  const text = page('docs/operations.md');
  const program = page('src/cli/program.ts');
  const verbs = [...program.matchAll(/^ {2}(\w+): async \(\) => \(await import\(/gm)].map(
    (match) => match[1]!,
  );
  assert.ok(verbs.length >= 10);
  for (const verb of verbs) assert.match(text, new RegExp(`holdfast ${verb} `), verb);
});

test('what the campaigns have reached is what their ledger says', () => {
  const table = sectionOf(page('docs/guarantees.md'), '### What has been run')
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .join('\n');
  assert.equal(table, reachedTable(readLedger()), '`npm run soak -- report` prints the table');
});

test('each slice in the ledger was run on a commit of this repository', (t) => {
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', repository, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  let commits: Set<string>;
  try {
    if (git('rev-parse', '--is-shallow-repository').trim() === 'true')
      return t.skip('NOT RUN, a shallow clone');
    commits = new Set(git('rev-list', 'HEAD').split('\n'));
  } catch {
    return t.skip('NOT RUN, there is no git here, or this is no clone');
  }
  const unknown = readLedger().filter(({ commit }) => !commits.has(commit));
  assert.deepEqual(unknown, []);
});
