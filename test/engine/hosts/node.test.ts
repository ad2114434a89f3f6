/** The Node host keeps every promise of the contract, on worker threads and inline; a thread without work lets the process go. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { nodeHost } from '../../../engine/hosts/node.ts';
import { hostSuite } from '../../conformance/host.ts';
import type { HostUnderTest } from '../../conformance/host-under-test.ts';
import { faultyHost } from '../../world/faulty-host.ts';

const threadEntry = new URL('../../world/echo-thread.ts', import.meta.url);

function onDisk(host = nodeHost()): HostUnderTest {
  const folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'holdfast-host-')));
  return {
    host,
    folder,
    threadEntry,
    ...(process.platform === 'linux' && {
      makeRawName: (folder, name) => fs.writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), name]), ''),
    }),
    dispose: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

hostSuite('node, worker threads', () => onDisk());
hostSuite('node, inline', () => onDisk(nodeHost({ inline: true })));
hostSuite('faulty over node, nothing armed', () => onDisk(faultyHost(nodeHost({ inline: true }))));

/** Runs a script on a started thread in a process of its own. */
async function inProcess(script: string): Promise<string> {
  const source = `
    const { nodeHost } = await import(${JSON.stringify(import.meta.resolve('../../../engine/hosts/node.ts'))});
    const thread = await nodeHost().threads.start(new URL(${JSON.stringify(threadEntry.href)}));
    thread.port.listen((message) => { console.log(JSON.stringify(message)); after?.(); });
    let after;
    ${script}`;
  const folder = fs.mkdtempSync(join(tmpdir(), 'holdfast-host-'));
  try {
    const program = join(folder, 'program.mjs');
    fs.writeFileSync(program, source);
    const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 20_000 });
    return stdout.trim();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('a thread without work does not keep the process alive', async () => {
  assert.equal(await inProcess(''), '');
});

test('a held thread does, until it is let go as often as it was held', async () => {
  const script = `thread.hold(true); thread.hold(true); thread.hold(false);
    after = () => thread.hold(false); thread.port.post('hello');`;
  assert.equal(await inProcess(script), JSON.stringify({ echo: 'hello', platform: process.platform }));
});
