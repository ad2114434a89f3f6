/** Writes the benchmarks down as plain JavaScript: a process that strips types holds 40 MB for that, which are not ours to measure. */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('./', import.meta.url));
/** In node_modules, where packages are found from and where nothing is looked after. */
const target = fileURLToPath(
  new URL(`../node_modules/.cache/holdfast-bench/${process.pid}/`, import.meta.url),
);
let written = false;

/** The program of a child process, written when first asked for and removed when this process ends. */
export function childProgram(): string {
  if (!written) writeAll();
  written = true;
  return join(target, 'child.js');
}

function writeAll(): void {
  const emitWarning = process.emitWarning.bind(process);
  process.emitWarning = () => undefined; // Node calls the stripping experimental, each time
  process.once('exit', () => rmSync(target, { recursive: true, force: true }));
  for (const name of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const path = join(target, name.replace(/\.ts$/, '.js'));
    const code = stripTypeScriptTypes(readFileSync(join(source, name), 'utf8'));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code.replaceAll(/(['"]\.{1,2}\/[\w/-]+)\.ts(?=['"])/g, '$1.js'));
  }
  process.emitWarning = emitWarning;
}
