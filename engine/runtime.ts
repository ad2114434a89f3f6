/** Refuses runtimes on which native code would crash instead of failing: checked before any of it is loaded. */
import { StoreError } from './errors.ts';

/** better-sqlite3 13 needs Node-API 10, which came with this release. */
const oldest = [22, 14] as const;

export function checkRuntime(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const api = Number(process.versions.napi ?? 0);
  const old = major < oldest[0] || (major === oldest[0] && minor < oldest[1]);
  if (!old && api >= 10) return;
  throw new StoreError(
    'unsupported-runtime',
    `holdfast needs Node.js ${oldest.join('.')} or later (Node-API 10); this is ${process.versions.node} (Node-API ${api})`,
  );
}
