// The disk model obeys its own rules, and the recorder hears every call that Node and SQLite make.
import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { modelOfFolder, type DiskModel, type LossMode } from './disk-model.ts';
import { seededRandom } from './random.ts';
import { buildRecorder, freshFolder } from './recorded-run.ts';
import { readRecordedLog, type LogRecord } from './recorded-log.ts';

const write = (inode: bigint, at: number, text: string): LogRecord => ({
  type: 'write',
  inode,
  at,
  data: Buffer.from(text),
});
const create = (inode: bigint, path: string): LogRecord => ({ type: 'create', inode, path });

interface Bench {
  readonly model: DiskModel;
  readonly folder: bigint;
  readonly apply: (...records: LogRecord[]) => void;
  /** Path to content of one crash state. */
  readonly state: (mode: LossMode, seed?: number) => Record<string, string>;
}

function bench(run: (b: Bench) => void): void {
  const area = freshFolder('model');
  try {
    const disk = join(area, 'disk');
    mkdirSync(disk);
    const model = modelOfFolder(disk);
    run({
      model,
      folder: lstatSync(disk, { bigint: true }).ino,
      apply: (...records) => records.forEach((record) => model.apply(record)),
      state: (mode, seed = 1) => {
        const out = join(area, 'state');
        mkdirSync(out);
        model.materialise(out, mode, seededRandom(seed));
        const found = contents(out);
        rmSync(out, { recursive: true });
        return found;
      },
    });
  } finally {
    rmSync(area, { recursive: true, force: true });
  }
}

function contents(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const path of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort())
    found[path] = statSync(join(root, path)).isDirectory() ? '/' : readFileSync(join(root, path), 'latin1');
  return found;
}

const fsync = (inode: bigint): LogRecord => ({ type: 'fsync', inode });

test('fsync of a file keeps its bytes but not its name; fsync of the folder keeps the name but not bytes', () => {
  bench(({ apply, state, folder }) => {
    apply(create(100n, 'a'), write(100n, 0, 'abc'), fsync(100n));
    assert.deepEqual(state('nothing'), {});
    assert.deepEqual(state('names'), { a: 'abc' });
    apply(create(101n, 'b'), write(101n, 0, 'xyz'), fsync(folder));
    assert.deepEqual(state('nothing'), { a: 'abc', b: '' });
    assert.deepEqual(state('everything'), { a: 'abc', b: 'xyz' });
  });
});

test('a folder whose name was never synced takes everything in it away', () => {
  bench(({ apply, state, folder }) => {
    apply(
      { type: 'mkdir', inode: 200n, path: 'd' },
      create(201n, 'd/f'),
      write(201n, 0, 'x'),
      fsync(201n),
      fsync(200n),
    );
    assert.deepEqual(state('nothing'), {});
    apply(fsync(folder));
    assert.deepEqual(state('nothing'), { d: '/', 'd/f': 'x' });
  });
});

test('a rename is whole in every state, and syncing its new folder carries the file over', () => {
  bench(({ apply, state, folder }) => {
    apply(
      { type: 'mkdir', inode: 300n, path: 'tmp' },
      { type: 'mkdir', inode: 301n, path: 'blobs' },
      fsync(folder),
    );
    apply(create(302n, 'tmp/t'), write(302n, 0, 'data'), fsync(302n));
    apply({ type: 'rename', path: 'tmp/t', to: 'blobs/b' });
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) seen.add(Object.keys(state('random', seed)).join());
    assert.deepEqual([...seen].sort(), ['blobs,blobs/b,tmp', 'blobs,tmp', 'blobs,tmp,tmp/t']);
    apply(fsync(301n));
    assert.deepEqual(state('nothing'), { blobs: '/', 'blobs/b': 'data', tmp: '/' });
  });
});

test('changes of one name keep their order', () => {
  bench(({ apply, state, folder }) => {
    apply(create(400n, 'n'), write(400n, 0, 'old'), fsync(400n), fsync(folder));
    apply({ type: 'unlink', path: 'n' }, create(401n, 'n'), write(401n, 0, 'new'), fsync(401n));
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) seen.add(state('random', seed)['n'] ?? 'gone');
    assert.deepEqual([...seen].sort(), ['gone', 'new', 'old']);
  });
});

test('unsynced writes are lost one by one, torn only at sectors, and a lost truncate takes what was behind it', () => {
  bench(({ apply, state, folder }) => {
    apply(create(500n, 'f'), write(500n, 0, 'a'.repeat(2048)), fsync(500n), fsync(folder));
    apply(write(500n, 0, 'b'.repeat(2048)), write(500n, 2048, 'c'.repeat(512)));
    let torn = 0;
    let holes = 0;
    for (let seed = 0; seed < 300; seed++) {
      const content = state('random', seed)['f']!;
      for (let at = 0; at < content.length; at += 512)
        assert.match(content.slice(at, at + 512), /^(a{512}|b{512}|c{512})$/);
      if (/ab|ba/.test(content)) torn++;
      if (content.startsWith('a') && content.endsWith('c')) holes++;
    }
    assert.ok(torn > 10 && holes > 10, `${torn} torn, ${holes} with a later write alone`);
  });
  bench(({ apply, state, folder }) => {
    apply(create(501n, 'g'), write(501n, 0, 'old!'), fsync(501n), fsync(folder));
    apply({ type: 'truncate', inode: 501n, size: 0 }, write(501n, 0, 'new'));
    const seen = new Set<string>();
    for (let seed = 0; seed < 80; seed++) seen.add(state('random', seed)['g']!);
    assert.deepEqual([...seen].sort(), ['', 'new', 'old!']);
  });
});

const probe = `
const fs = require('node:fs'), path = require('node:path'), { Worker } = require('node:worker_threads');
const disk = process.env.REC_PREFIX, ack = fs.openSync(process.env.REC_ACK, 'a');
const at = (...p) => path.join(disk, ...p);
(async () => {
  fs.mkdirSync(at('a/b'), { recursive: true });
  fs.writeFileSync(process.env.REC_ACK + '-source', 'hello '.repeat(5000));
  await fs.promises.copyFile(process.env.REC_ACK + '-source', at('copy'));
  await fs.promises.copyFile(process.env.REC_ACK + '-source', at('clone'), fs.constants.COPYFILE_FICLONE);
  await fs.promises.cp(at('copy'), at('copy2'));
  const h = await fs.promises.open(at('a/x'), 'w');
  await h.writev([Buffer.from('one'), Buffer.from('two')], 4);
  await h.write(Buffer.from('zero'), 0, 4, 0);
  await h.truncate(9);
  await h.sync();
  await h.close();
  fs.writeSync(ack, '{"k":"opened"}\\n');
  fs.appendFileSync(at('a/x'), 'tail');
  const s = fs.createWriteStream(at('stream'));
  for (let i = 0; i < 50; i++) s.write(String(i).repeat(1000));
  await new Promise((done) => s.end(done));
  fs.renameSync(at('a/x'), at('a/b/y'));
  fs.linkSync(at('a/b/y'), at('linked'));
  fs.symlinkSync('linked', at('soft'));
  fs.truncateSync(at('a/b/y'), 5);
  fs.writeFileSync(at('gone'), 'x');
  fs.rmSync(at('gone'));
  fs.mkdirSync(at('tree/deep'), { recursive: true });
  fs.writeFileSync(at('tree/deep/f'), 'x');
  fs.rmSync(at('tree'), { recursive: true });
  fs.mkdtempSync(at('made-'));
  process.chdir(disk);
  fs.writeFileSync('relative', 'r');
  const D = require(process.argv[1]);
  const lanes = [0, 1, 2].map((n) => new Worker(
    "const { workerData: w } = require('node:worker_threads'); const fs = require('node:fs'); const D = require(w.sqlite);" +
    "const d = new D(w.path + '.db'); d.pragma('journal_mode=' + w.mode); d.pragma('synchronous=FULL'); d.exec('create table t(a)');" +
    "for (let i = 0; i < 60; i++) { d.prepare('insert into t values(?)').run('x'.repeat(500)); fs.appendFileSync(w.path + '.txt', i + ' '); } if (w.close) d.close();",
    { eval: true, workerData: { sqlite: process.argv[1], path: at('db' + n), mode: ['WAL', 'TRUNCATE', 'DELETE'][n], close: n !== 0 } }));
  await Promise.all(lanes.map((w) => new Promise((done, fail) => { w.on('exit', done); w.on('error', fail); })));
})();
`;

const recorder = buildRecorder();
const skip = 'missing' in recorder ? `NOT RUN, no recorder: ${recorder.missing}` : false;

test('replaying a whole log gives exactly the files that the process left', { skip }, () => {
  assert.ok('path' in recorder);
  const area = freshFolder('recorder');
  try {
    const disk = join(area, 'disk');
    mkdirSync(disk);
    writeFileSync(join(disk, 'before'), 'there before');
    const model = modelOfFolder(disk);
    const sqlite = new URL('../../node_modules/better-sqlite3', import.meta.url).pathname;
    const env = {
      ...process.env,
      LD_PRELOAD: recorder.path,
      REC_PREFIX: disk,
      REC_LOG: join(area, 'log'),
      REC_ACK: join(area, 'acks'),
    };
    const run = spawnSync(process.execPath, ['-e', probe, sqlite], {
      env,
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(run.status, 0, run.stderr);
    const records = readRecordedLog(join(area, 'log'));
    for (const record of records) model.apply(record);
    const replayed = join(area, 'replayed');
    mkdirSync(replayed);
    model.materialise(replayed, 'everything', seededRandom(1));
    for (const name of readdirSync(disk)) if (name.endsWith('-shm')) rmSync(join(disk, name));
    assert.deepEqual(contents(replayed), contents(disk));
    assert.ok(existsSync(join(disk, 'db0.db')) && existsSync(join(disk, 'soft')));
    assert.equal(records.filter((r) => r.type === 'ack').length, 1);
    const x = records.findIndex((r) => r.type === 'rename');
    const acked = records.findIndex((r) => r.type === 'ack');
    assert.ok(acked < x && records[acked - 1]?.type === 'fsync', 'the acknowledgement stands at its place');
  } finally {
    rmSync(area, { recursive: true, force: true });
  }
});
