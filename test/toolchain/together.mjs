// Which files of tests share a process: small ones, which would spend a third of their time on starting one and making its code fast.
import { globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * Each line is a process. Not among them: what starts processes or many threads, looks at memory or changes what a process is (its user,
 * its environment, its modules), and whatever takes more than five seconds. A file that is named nowhere has a process of its own.
 */
const processes = [
  'engine/codec: bytes compress fastcdc listing murmur providers record root-record sealed-value superblock',
  'engine: any-copy cap gc gc-clock golden-stores nodes pace recovery rpc scrub-box sources space volumes',
  'engine: alternates-told put-order rebuild-nodes rebuild-mirrored roots sealed',
  'engine/keys: changes flips hostile',
  'snapshot: diff hostile import-cache import-commits map-before',
  'sync: fan-out going-back together tree/hostile tree/map protocol/difference protocol/receiver',
  'cli: alternates health http rebuild upkeep volumes',
  '.: docs/format docs/guarantees docs/protocol docs/security engine/hosts/memory house/rules http/records world/faulty-host',
];

/** What takes longest of those with a process of their own. They begin early, or at the end one of them would keep one core busy alone. */
const long = [
  'bench/bench cli/keys cli/start cli/streams crash/move docs/examples fuzz/fuzz races/races sync/hostile sync/replicate',
  'engine/chunking-whole engine/damage engine/faults engine/group engine/mirror engine/opening engine/processes',
  'engine/rebuild engine/rebuild-kill engine/threads',
].flatMap((line) => line.split(' ').map((name) => join('test', `${name}.test.ts`)));

/** The files of each shared process, and those that are named nowhere; throws where one is named that is not there, or named twice. */
function filesOf(all) {
  const left = new Set(all);
  const shared = processes.map((line) => {
    const [folder, names] = line.split(': ');
    return names.split(' ').map((name) => join('test', folder, `${name}.test.ts`));
  });
  for (const file of [...shared.flat(), ...long])
    if (!left.delete(file)) throw new Error(`test/toolchain/together.mjs names ${file}, which it must not`);
  return { shared, others: [...left] };
}

/**
 * What to run: for each shared process a file in `folder` that imports its tests, and the files that have their own. With `alone` all
 * have, as in CI: that shows that none needs another.
 */
export function gather(root, folder, alone) {
  const all = globSync('test/**/*.test.ts', { cwd: root }).sort();
  if (alone) return all;
  const files = filesOf(all);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const made = files.shared.map((own, i) => {
    const path = join(folder, `process-${i + 1}.test.mjs`);
    const urls = own.map((file) => pathToFileURL(join(root, file)).href);
    writeFileSync(path, urls.map((url) => `await import(${JSON.stringify(url)});\n`).join(''));
    return path;
  });
  // Node goes by the names, and so what begins at the root of all comes first: here what takes longest.
  return [...made, ...long.map((file) => join(root, file)), ...files.others];
}
