// Which files of tests share a process: small ones, which would spend a third of their time on starting one and making its code fast.
import { globSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, matchesGlob } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * Each line is a process. Not among them: what starts processes or many threads, looks at memory or changes what a process is (its user,
 * its environment, its modules), and whatever takes more than three seconds. A file that is named nowhere has a process of its own.
 */
const processes = [
  'test/engine/codec/{bytes,compress,fastcdc,listing,murmur,providers,record,root-record,sealed-value,superblock}.test.ts',
  'test/engine/{any-copy,cap,gc,gc-clock,golden-stores,nodes,pace,recovery,rpc,scrub-box,sources,space,volumes}.test.ts',
  'test/engine/{alternates-told,put-order,rebuild-nodes,rebuild-mirrored,roots,sealed}.test.ts',
  'test/engine/keys/{changes,flips,hostile}.test.ts',
  'test/{snapshot/{diff,hostile,import-cache,import-commits},sync/tree/*,sync/protocol/{difference,receiver}}.test.ts',
  'test/sync/{fan-out,going-back,together}.test.ts',
  'test/cli/{alternates,health,http,rebuild,upkeep,volumes}.test.ts',
  'test/{docs/{format,guarantees,protocol,security},engine/hosts/memory,house/*,http/records,world/*}.test.ts',
];

/**
 * The files to run instead of those of the tests: for each process one that imports its own. Alone is each where they are to show that
 * none needs another, as in CI.
 */
export function gather(root, folder, alone) {
  const all = globSync('test/**/*.test.ts', { cwd: root }).sort();
  if (alone) return all;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const shared = new Set();
  const made = processes.map((pattern, i) => {
    const own = all.filter((file) => matchesGlob(file, pattern) && !shared.has(file));
    for (const file of own) shared.add(file);
    const path = join(folder, `process-${i + 1}.test.mjs`);
    const imports = own.map(
      (file) => `await import(${JSON.stringify(pathToFileURL(join(root, file)).href)});\n`,
    );
    writeFileSync(path, imports.join(''));
    return path;
  });
  // First, since they take longest.
  return [...made, ...all.filter((file) => !shared.has(file))];
}
