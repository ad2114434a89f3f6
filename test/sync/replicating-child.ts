// A process that pulls or pushes between the store named first and one that a child of its own serves, or receives a stream of it; tells its result.
import { fileURLToPath } from 'node:url';
import { openStore } from '../../engine/index.ts';
import { pull, push, receiveStream, sendStream, spawnTransport } from '../../sync/index.ts';

const [, , folder, direction, remote] = process.argv;
const child = fileURLToPath(new URL('./serving-child.ts', import.meta.url));
const options = { mode: 'open', durability: 'relaxed', threads: { count: 0 } } as const;
const store = await openStore(folder!, options);
try {
  if (direction === 'stream') {
    const other = await openStore(remote!, options);
    const stream = sendStream(other, 'main', { partBytes: 200_000 });
    const { bytes } = await receiveStream(store, stream, { resume: true });
    await other.close();
    console.log(JSON.stringify({ bytes, wire: bytes }));
  } else await replicate();
} finally {
  await store.close();
}

async function replicate(): Promise<void> {
  const transport = spawnTransport(process.execPath, ['--no-warnings', child, remote!]);
  const done = await (direction === 'pull' ? pull : push)(store, transport);
  console.log(JSON.stringify({ bytes: done.bytes, wire: done.sentBytes + done.receivedBytes }));
}
