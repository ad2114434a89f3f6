// Fills dist: compiles into a fresh folder beside it and swaps the two, so a failed or parallel build never leaves half a dist.
// A plain script that runs on Node 20 too; the compiler is a native program, found through its own package.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { bundlePrograms } from './bundle.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const dist = join(root, 'dist');
const compiled = ['engine', 'sync', 'src', 'test/conformance'];
const settings = [
  'test/toolchain/bundle.mjs',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsconfig.build.json',
];

function sources() {
  const found = [];
  for (const top of compiled) {
    const folder = join(root, top);
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder, { recursive: true }))
      if (name.endsWith('.ts')) found.push(join(top, name));
  }
  return found.sort();
}

/** A digest of everything dist is made from. */
function fingerprint() {
  const hash = createHash('sha256');
  for (const path of [...settings, ...sources()])
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(root, path)))
      .update('\0');
  return hash.digest('hex');
}

/** True when dist is missing or was made from other sources than those here now. */
export function isStale() {
  const stamp = join(dist, '.built');
  return !existsSync(stamp) || readFileSync(stamp, 'utf8') !== fingerprint();
}

/** Compiles; true when dist is now up to date. On a type error dist stays as it was. */
export async function build() {
  const stamp = fingerprint();
  const fresh = join(root, `dist.new-${process.pid}`);
  const old = join(root, `dist.old-${process.pid}`);
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  try {
    const args = [tsc, '-p', join(root, 'tsconfig.build.json'), '--outDir', fresh];
    const done = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    if (done.status !== 0) return false;
    await bundlePrograms(fresh);
    const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    for (const path of Object.values(bin)) {
      const program = join(root, path.replace(/^dist/, `dist.new-${process.pid}`));
      if (existsSync(program)) chmodSync(program, 0o755);
      else console.error(`holdfast: ${path} was not built: its source is missing.`);
    }
    writeFileSync(join(fresh, '.built'), stamp);
    if (existsSync(dist)) renameSync(dist, old);
    renameSync(fresh, dist);
    return true;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href && !(await build())) process.exit(1);
