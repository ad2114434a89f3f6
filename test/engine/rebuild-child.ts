// A process that rebuilds the catalog of a store until it is killed, or is done.
import { rebuildStore } from '../../engine/index.ts';

await rebuildStore(process.argv[2]!, { onProgress: () => undefined });
process.send?.('done');
