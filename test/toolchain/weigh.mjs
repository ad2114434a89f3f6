// What each test file costs, alone: CPU seconds, threads and processes started, heaviest first. `node test/toolchain/weigh.mjs [FILE …]`
// CPU seconds, since the time on the clock says more of what else the machine does.
import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isStale } from './build.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const built = !isStale();
const given = process.argv.slice(2);
const files = given.length > 0 ? given : globSync('test/**/*.test.ts', { cwd: root }).sort();
const memory = statSync('/dev/shm', { throwIfNoEntry: false })?.isDirectory() === true;
const folder = mkdtempSync(join(memory ? '/dev/shm' : tmpdir(), 'holdfast-weigh-'));
const counter = join(folder, 'count.cjs');
const log = join(folder, 'log');
// Loaded by every process and every worker thread: one letter each.
writeFileSync(
  counter,
  `require('node:fs').appendFileSync(${JSON.stringify(log)}, require('node:worker_threads').isMainThread ? 'p' : 't')`,
);

function weigh(file) {
  writeFileSync(log, '');
  // The shell tells what its children used; Node itself cannot.
  const { status, stdout } = spawnSync(
    'sh',
    ['-c', '"$0" --test "$1" >/dev/null 2>&1; s=$?; times; exit $s', process.execPath, file],
    {
      cwd: root,
      encoding: 'utf8',
      env: {
        ...process.env,
        TMPDIR: folder,
        ...(built ? { HOLDFAST_BUILT: 'fresh' } : {}),
        NODE_COMPILE_CACHE: join(folder, 'cache'),
        NODE_OPTIONS: `--require=${counter} --require=${JSON.stringify(join(root, 'test/toolchain/preload.cjs'))}`,
      },
    },
  );
  const used = stdout
    .trim()
    .split('\n')
    .at(-1)
    .split(' ')
    .map((time) => {
      const [minutes, seconds] = time.split('m').map(Number.parseFloat);
      return 60 * minutes + seconds;
    });
  const started = readFileSync(log, 'utf8');
  return {
    file,
    failed: status !== 0,
    seconds: used[0] + used[1],
    threads: started.replaceAll('p', '').length,
    // The runner and the file itself are in every row.
    processes: started.replaceAll('t', '').length - 2,
  };
}

try {
  // The first of them fills the cache with the engine for all.
  weigh('test/engine/nodes.test.ts');
  const rows = [];
  for (const file of files) {
    rows.push(weigh(file));
    process.stderr.write(`${rows.length}/${files.length} ${file}\n`);
  }
  console.log('  CPU s  threads  processes  file');
  for (const { file, failed, seconds, threads, processes } of rows.sort((a, b) => b.seconds - a.seconds))
    console.log(
      `${seconds.toFixed(2).padStart(7)}${String(threads).padStart(9)}${String(processes).padStart(11)}  ${file}${failed ? '  FAILED' : ''}`,
    );
  const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
  console.log(
    `${sum('seconds').toFixed(2).padStart(7)}${String(sum('threads')).padStart(9)}${String(sum('processes')).padStart(11)}  in all`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
