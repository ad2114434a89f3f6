// Makes a checkout ready to run: installs what package-lock.json says, finds a Node that fits, and with --build fills dist.
// A plain script: it must run on the Node of the machine, which may be as old as 20, before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, isStale } from './build.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const modules = join(root, 'node_modules');
const stampFile = join(modules, '.holdfast-lock');
const toolchainNode = join(modules, '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');

function fail(line) {
  console.error(`holdfast: ${line}`);
  process.exit(1);
}

function readOrUndefined(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function nodeFits(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 22 || (major === 22 && minor >= 14);
}

/** Runs npm itself: the copy that runs us where there is one. --ignore-scripts, since nothing here needs compiling. */
function npmCi() {
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  const options = { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] };
  if (npm?.endsWith('.js')) return spawnSync(process.execPath, [npm, ...args], options);
  return spawnSync('npm', args, { ...options, shell: process.platform === 'win32' });
}

/** A toolchain that cannot run here (another libc) must not shadow the machine's own Node. */
function dropBrokenToolchain() {
  if (!existsSync(toolchainNode) || process.platform === 'win32') return;
  if (spawnSync(toolchainNode, ['--version']).status === 0) return;
  console.error('holdfast: the bundled Node does not run on this machine; using its own.');
  rmSync(toolchainNode, { force: true });
}

const lock = readOrUndefined(join(root, 'package-lock.json'));
if (lock === undefined) fail('package-lock.json is missing from this checkout.');
const stamp = createHash('sha256').update(lock).digest('hex');

if (readOrUndefined(stampFile) !== stamp) {
  console.error('holdfast: installing packages (npm ci --ignore-scripts) …');
  const done = npmCi();
  if (done.status !== 0) fail(`npm ci failed (${done.error?.message ?? `exit ${String(done.status)}`}).`);
  dropBrokenToolchain();
  writeFileSync(stampFile, stamp);
}

if (!existsSync(toolchainNode) && !nodeFits(process.versions.node)) {
  fail(
    `needs Node 22.14 or newer to develop and test; this is ${process.versions.node}, and no bundled Node fits this platform.`,
  );
}

if (process.argv.includes('--build') && isStale() && !(await build())) fail('the build failed.');
