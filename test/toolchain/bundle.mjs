// Makes a few files of the programs: what starts a process or a thread loads four hundred modules, and each costs Node about a millisecond.
import { readFileSync } from 'node:fs';
import { relative, sep } from 'node:path';

/** What starts a process or a thread. */
const entries = [
  'src/cli/main.js',
  'src/cli/start.js',
  'engine/threads/commit.js',
  'engine/threads/work.js',
  'engine/threads/rebuild.js',
];

/** Where what programs share lies, and what a command loads when it is named. */
const shared = 'programs';

/** Puts bundles in the place of the programs in a folder of compiled modules. The doors for applications stay modules of their own. */
export async function bundlePrograms(folder) {
  // Not before it is installed.
  const { build } = await import('esbuild');
  const located = new Set();
  const { metafile } = await build({
    absWorkingDir: folder,
    entryPoints: entries,
    outbase: folder,
    outdir: folder,
    allowOverwrite: true,
    chunkNames: `${shared}/[name]-[hash]`,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22.14',
    packages: 'external',
    sourcemap: true,
    sourcesContent: false,
    metafile: true,
    logLevel: 'warning',
    plugins: [
      {
        // A module that asks where it lies means the place it was compiled to.
        name: 'place',
        setup(bundler) {
          bundler.onLoad({ filter: /\.js$/ }, ({ path }) => {
            const text = readFileSync(path, 'utf8');
            if (!text.includes('import.meta.url')) return undefined;
            const place = relative(folder, path).split(sep).join('/');
            located.add(place);
            return {
              contents: text.replaceAll('import.meta.url', `new URL('../${place}', import.meta.url).href`),
            };
          });
        },
      },
    ],
  });
  for (const [output, { inputs }] of Object.entries(metafile.outputs)) {
    const lost = Object.keys(inputs).find((input) => located.has(input));
    if (lost !== undefined && !output.startsWith(`${shared}/`))
      throw new Error(`${lost} asks where it lies, and became part of ${output}, not of ${shared}/`);
  }
}
