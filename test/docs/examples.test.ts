/** The examples of README.md and docs/ work: TypeScript is checked and run against the package, command lines are run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { holdfast } from '../cli/command.ts';
import { full } from '../crash/sample.ts';
import { type CodeBlock, codeBlocks, page, pages, repository } from './page.ts';

const { isStale } = (await import(new URL('../toolchain/build.mjs', import.meta.url).href)) as {
  isStale: (this: void) => boolean;
};
// `npm test` builds first. A single test file may be run on sources that were not built yet: then the package is made of them.
const built = !isStale();

interface Example extends CodeBlock {
  readonly page: string;
}

function examplesOf(path: string, language: string): Example[] {
  return codeBlocks(page(path))
    .filter((block) => block.language.split(' ')[0] === language)
    .map((block) => ({ ...block, page: path }));
}

const programs = pages().flatMap((path) =>
  examplesOf(path, 'ts').filter(({ text }) => /from 'holdfast(?:\/\w+)?'/.test(text)),
);
const commandLines = examplesOf('docs/operations.md', 'sh');

/** A folder in which the package and the command can be found, with something to store. */
function workplace(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-examples-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, '.bin'), { recursive: true });
  if (built) symlinkSync(repository, join(modules, 'holdfast'), 'dir');
  else packageOfSources(join(modules, 'holdfast'));
  symlinkSync(join(repository, 'node_modules/@types'), join(modules, '@types'), 'dir');
  const main = join(repository, built ? 'dist/src/cli/main.js' : 'src/cli/main.ts');
  writeFileSync(
    join(modules, '.bin/holdfast'),
    `#!/bin/sh\nexec '${process.execPath}' --no-warnings '${main}' "$@"\n`,
  );
  chmodSync(join(modules, '.bin/holdfast'), 0o755);
  mkdirSync(join(folder, 'photos/2026'), { recursive: true });
  writeFileSync(join(folder, 'photos/a.txt'), 'hello');
  writeFileSync(join(folder, 'photos/2026/b.jpg'), new Uint8Array(300_000).fill(7));
  for (const name of ['photo.jpg', 'movie.mp4', 'song.flac', 'notes.txt'])
    writeFileSync(join(folder, name), name.repeat(50_000));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', private: true }));
  return folder;
}

/** The doors of package.json, leading to the sources. */
function packageOfSources(folder: string): void {
  mkdirSync(folder);
  for (const top of ['engine', 'sync', 'src', 'test'])
    symlinkSync(join(repository, top), join(folder, top), 'dir');
  const { exports } = JSON.parse(page('package.json')) as {
    exports: Record<string, { default: string } | string>;
  };
  const doors = Object.entries(exports).map(([door, to]) => [
    door,
    typeof to === 'string' ? to : to.default.replace('./dist/', './').replace(/\.js$/, '.ts'),
  ]);
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'holdfast', type: 'module', exports: Object.fromEntries(doors) }),
  );
}

function run(
  program: string,
  args: readonly string[],
  folder: string,
): { readonly status: number | null; readonly told: string } {
  const PATH = [
    join(folder, 'node_modules/.bin'),
    join(repository, 'node_modules/.bin'),
    process.env['PATH'],
  ].join(delimiter);
  const env = { ...process.env, PATH, NODE_TEST_CONTEXT: '' };
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: folder,
    env,
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { status, told: `${stdout}${stderr}${error === undefined ? '' : String(error)}` };
}

test(
  'the README has an example in TypeScript',
  { skip: existsSync(join(repository, 'README.md')) ? false : 'NOT RUN, there is no README.md yet' },
  () => {
    assert.ok(programs.some((example) => example.page === 'README.md'));
  },
);

test('there are examples to run', () => {
  assert.ok(programs.length > 0);
  assert.ok(commandLines.length > 0);
});

/** Each in a process of its own in CI; else one after the other in one, since to load the package takes longer than most of them do. */
const together = full ? programs.map((example) => [example]) : [programs];
for (const examples of together) {
  const places = examples.map((example) => `${example.page}:${String(example.line)}`).join(', ');
  test(`${places} runs`, (context) => {
    const folders = examples.map(() => workplace(context));
    folders.forEach((folder, i) => writeFileSync(join(folder, 'example.ts'), `${examples[i]!.text}\n`));
    const lines = folders.map(
      (folder) =>
        `process.chdir(${JSON.stringify(folder)});\nawait import(${JSON.stringify(pathToFileURL(join(folder, 'example.ts')).href)});\n`,
    );
    const [first] = folders as [string];
    writeFileSync(join(first, 'all.mjs'), `${lines.join('')}console.log('all ran');\n`);
    const entry = examples.length === 1 ? 'example.ts' : 'all.mjs';
    const { status, told } = run(process.execPath, ['--no-warnings', entry], first);
    const texts = examples.map(({ text }, i) => `${folders[i]!}:\n${text}`);
    assert.equal(status, 0, [told, ...texts].join('\n'));
    // None of them ended the process before the next one's turn.
    if (examples.length > 1) assert.match(told, /^all ran$/m);
  });
}

test('the examples are of the types they use', (context) => {
  const folder = workplace(context);
  const names = programs.map((_, i) => `example-${String(i)}.ts`);
  programs.forEach(({ text }, i) => writeFileSync(join(folder, names[i]!), `${text}\n`));
  const { compilerOptions } = JSON.parse(page('tsconfig.json')) as { compilerOptions: object };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: names }));
  const { status, told } = run(
    process.execPath,
    [join(repository, 'node_modules/typescript/bin/tsc'), '-p', folder],
    folder,
  );
  const places = programs.map((example, i) => `${names[i]!} is ${example.page}:${String(example.line)}`);
  assert.equal(status, 0, [told, ...places].join('\n'));
});

/** Plain commands run in this process, which costs a twentieth; what a shell has to understand, it does, with the lines around it. */
function stepsOf(text: string): { readonly plain: boolean; readonly lines: string[] }[] {
  const steps: { plain: boolean; lines: string[] }[] = [];
  for (const line of text.split('\n').map((whole) => whole.replace(/(?:^|\s+)#.*$/, ''))) {
    if (line === '') continue;
    const plain = /^holdfast [\w ./:=-]+$/.test(line);
    if (plain || steps.at(-1)?.plain !== false) steps.push({ plain, lines: [line] });
    else steps.at(-1)!.lines.push(line);
  }
  return steps;
}

for (const example of commandLines) {
  const skip = process.platform === 'win32' ? 'NOT RUN, there is no sh' : false;
  test(`${example.page}:${String(example.line)} runs`, { skip }, async (context) => {
    const folder = workplace(context);
    for (const { plain, lines } of stepsOf(example.text)) {
      if (plain) {
        const { exit, stderr } = await holdfast(lines[0]!.split(/ +/).slice(1), { cwd: folder });
        assert.equal(exit, 0, `${lines[0]!}\n${stderr}`);
      } else {
        const { status, told } = run('sh', ['-e', '-c', lines.join('\n')], folder);
        assert.equal(status, 0, `${lines.join('\n')}\n${told}`);
      }
    }
  });
}
