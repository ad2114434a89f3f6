/** Replication to a second store that a process of its own serves (W8): all of many small files, a large one, and what changed. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Store } from '../../src/index.ts';
import { notesPeak } from '../peak.ts';
import { settledNow, smallFiles } from '../data.ts';
import type { Case, Place, Workload } from '../workload.ts';

const changes = 100;

type Push = (store: Store, root: string) => Promise<{ readonly blobs: number; readonly bytes: number }>;

/**
 * Starts a child that serves a store, as ssh would start it, to be pushed to; the peak of that child is a fact.
 */
function serveInChild({ door, build, meter, target }: Place, replica: string): Push {
  const peakFile = `${target}.peak`;
  process.env['HOLDFAST_BENCH_PEAK'] = peakFile;
  const child = ['--no-warnings', '--import', notesPeak, build.program, 'serve', replica, '--stdio'];
  const transport = door.spawnTransport(process.execPath, child);
  delete process.env['HOLDFAST_BENCH_PEAK'];
  return async (store, root) => {
    const pushed = await door.push(store, transport, { roots: [root] });
    meter.fact('wireBytes', pushed.sentBytes + pushed.receivedBytes);
    meter.fact('roundTrips', pushed.roundTrips);
    meter.fact('servingPeakMB', Number(readFileSync(peakFile, 'utf8')) / 1e6);
    rmSync(peakFile, { force: true });
    return pushed;
  };
}

/** A root of a store that was prepared, to a new one. */
function pushWhole(root: 'large' | 'small'): Case {
  return {
    name: 'push over stdio',
    ours: true,
    needs: ['store-all'],
    async run(place) {
      const { open, prepared, target, meter } = place;
      await (await open(target)).close();
      const store = await open(prepared('store-all'), { mode: 'open' });
      await meter.time(async () => {
        const { bytes, blobs } = await serveInChild(place, target)(store, root);
        return { bytes, operations: blobs };
      });
      await store.close();
    },
  };
}

/** What one does by hand: copied, durable, and both sides known to be the same. */
const copyByHand: Case = {
  name: 'cp + sync + sha256sum of both',
  ours: false,
  async run({ data, target, meter }) {
    await meter.time(() => {
      execFileSync('cp', [data.large, target]);
      execFileSync('sync', [target]);
      const sums = execFileSync('sha256sum', [data.large, target], { encoding: 'utf8' });
      if (
        new Set(
          sums
            .trimEnd()
            .split('\n')
            .map((line) => line.slice(0, 64)),
        ).size !== 1
      )
        throw new Error('the copy differs');
      return {
        bytes: Number(execFileSync('stat', ['-c', '%s', target], { encoding: 'utf8' })),
        operations: 1,
      };
    });
  },
};

export const replicateLarge: Workload = {
  name: 'W8-large',
  title: 'one large file to a store of another process, over stdio; beside a copy by hand',
  unit: 'MB/s',
  cache: 'warm',
  warms: ['large', 'store-all'],
  cases: [pushWhole('large'), copyByHand],
  goals: [{ figure: 'ratio', atLeast: 0.7, source: 'performance.md' }],
};

/** Files that lie all over the tree: of ten, one is removed, one is new, the others have some more bytes. How many. */
function changeSome(folder: string): number {
  const paths = smallFiles({ large: '', huge: '', small: folder });
  const count = Math.min(changes, paths.length);
  const mark = Date.now();
  for (let i = 0; i < count; i++) {
    const path = paths[Math.floor((i * paths.length) / count)]!;
    if (i % 10 === 8) rmSync(path);
    else if (i % 10 === 9) writeFileSync(`${path}-${mark}`, `a new file, ${mark}\n`.repeat(400));
    else appendFileSync(path, `and a little more, ${mark}\n`);
  }
  return count;
}

async function settledChanges({ scale }: Place): Promise<void> {
  if (scale.judged) await settledNow();
}

/** What the runs before changed is there already: each run changes more of the same two stores. */
const pushChanged: Case = {
  name: 'add + push over stdio',
  ours: true,
  needs: ['replicated'],
  async run(place) {
    const { door, open, prepared, meter } = place;
    const at = prepared('replicated');
    const [files, replica] = [join(at, 'files'), join(at, 'replica')];
    const changed = changeSome(files);
    await settledChanges(place);
    const store = await open(join(at, 'store'), { mode: 'open' });
    await meter.time(async () => {
      const began = performance.now();
      // The far side opens its store meanwhile.
      const push = serveInChild(place, replica);
      await door.importPaths(store, [files], { root: 'small' });
      const added = performance.now();
      meter.fact('addSeconds', (added - began) / 1000);
      const { bytes } = await push(store, 'small');
      meter.fact('pushSeconds', (performance.now() - added) / 1000);
      return { bytes, operations: changed };
    });
    await store.close();
  },
};

/** What a workload without its rival says of itself. */
const noRsync = 'rsync is NOT INSTALLED: no rival';
const rsyncHere = (process.env['PATH'] ?? '')
  .split(delimiter)
  .some((folder) => folder !== '' && existsSync(join(folder, 'rsync')));

const rsyncChanged: Case = {
  name: 'rsync -a --delete',
  ours: false,
  needs: ['rsynced'],
  async run(place) {
    const { prepared, meter } = place;
    const at = prepared('rsynced');
    const changed = changeSome(join(at, 'files'));
    await settledChanges(place);
    await meter.time(() => {
      const how = ['-a', '--delete', '--stats', join(at, 'files/'), join(at, 'replica')];
      const said = execFileSync('rsync', how, { encoding: 'utf8' });
      const bytes = [...said.matchAll(/^Total bytes (?:sent|received): ([\d,]+)/gm)];
      meter.fact(
        'wireBytes',
        bytes.reduce((sum, [, number]) => sum + Number(number!.replaceAll(',', '')), 0),
      );
      return { bytes: 0, operations: changed };
    });
  },
};

const rsyncWhole: Case = {
  name: 'rsync -a + sync',
  ours: false,
  async run({ data, target, meter }) {
    await meter.time(() => {
      execFileSync('rsync', ['-a', `${data.small}/`, target]);
      execFileSync('sync', ['-f', target]);
      return { bytes: 0, operations: smallFiles(data).length };
    });
  },
};

export const replicateSmall: Workload = {
  name: 'W8',
  title: `the small files to a store of another process, over stdio; ${rsyncHere ? 'beside rsync' : noRsync}`,
  unit: 's',
  cache: 'warm',
  warms: ['small', 'store-all'],
  cases: rsyncHere ? [pushWhole('small'), rsyncWhole] : [pushWhole('small')],
  goals: [{ figure: 'seconds', atMost: 4, source: 'performance.md' }],
};

export const replicateChanged: Workload = {
  name: 'W8-changed',
  title: `100 of the small files changed, and replicated again; ${rsyncHere ? 'beside rsync' : noRsync}`,
  unit: 's',
  cache: 'any',
  cases: rsyncHere ? [pushChanged, rsyncChanged] : [pushChanged],
  goals: [
    { figure: 'roundTrips', atMost: 2, source: 'performance.md' },
    { figure: 'wireBytes', atMost: 750_000, source: 'performance.md' },
    { figure: 'pushSeconds', atMost: 0.15, source: 'performance.md' },
    ...(rsyncHere ? [{ figure: 'ratio', atLeast: 1, source: 'performance.md' } as const] : []),
  ],
};
