// Keeps node:test from following every promise of the tests: the hooks of that cost a tenth of all processor time. Loaded by test.mjs.
// What is lost: an error that nobody catches ends its file with a failure as before, but is not told of the test it began in.
const { isMainThread } = require('node:worker_threads');

// Not in what a test starts, which takes over the options of its parent.
if (isMainThread && /\.test\.\w+$/.test(process.argv[1] ?? '')) {
  const hooks = require('node:async_hooks');
  const { createHook } = hooks;
  const idle = { enable: () => idle, disable: () => idle };
  hooks.createHook = () => idle;
  require('node:test'); // takes what is there when it is loaded
  hooks.createHook = createHook;
}
