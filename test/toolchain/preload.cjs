// What test.mjs loads first into each file of tests and into the processes it starts: it takes a third of their processor time away.
const { isMainThread } = require('node:worker_threads');

const program = process.argv[1] ?? '';
if (isMainThread && /\.test\.\w+$/.test(program)) untrack();
// What is started from dist has its threads there; a broken build of the engine is a folder of its own, and so are its threads.
if (isMainThread && /\.(?:ts|mjs)$/.test(program) && process.env.HOLDFAST_BUILT === 'fresh')
  startBuiltThreads();

/**
 * Keeps node:test from following every promise of the tests. What is lost: an error that nobody catches ends its file with a failure as
 * before, but is not told of the test it began in.
 */
function untrack() {
  const hooks = require('node:async_hooks');
  const { createHook } = hooks;
  const idle = { enable: () => idle, disable: () => idle };
  hooks.createHook = () => idle;
  require('node:test'); // takes what is there when it is loaded
  hooks.createHook = createHook;
}

/** Threads of the engine start from dist, as they do for applications: a few files instead of a hundred and fifty with types to strip. */
function startBuiltThreads() {
  const { join } = require('node:path');
  const { pathToFileURL } = require('node:url');
  const threads = require('node:worker_threads');
  const root = pathToFileURL(join(__dirname, '../..')).href;
  const [source, built] = [`${root}/engine/threads/`, `${root}/dist/engine/threads/`];
  const { Worker } = threads;
  threads.Worker = class extends Worker {
    constructor(entry, options) {
      const href = String(entry);
      const ours = href.startsWith(source) && href.endsWith('.ts');
      super(ours ? new URL(href.replace(source, built).replace(/ts$/, 'js')) : entry, options);
    }
  };
  require('node:module').syncBuiltinESMExports();
}
