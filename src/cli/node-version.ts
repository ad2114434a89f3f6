/** Says whether this Node can run holdfast. Plain code that an old Node can read, importing nothing. */

/**
 * A line to print instead of starting, or undefined. Below Node-API 10 the SQLite driver does not fail, it crashes the process,
 * so this is asked before anything native is loaded.
 */
export function nodeTooOld(versions: NodeJS.ProcessVersions): string | undefined {
  const [major = 0, minor = 0] = versions.node.split('.').map(Number);
  const fits = major > 22 || (major === 22 && minor >= 14);
  if (fits && Number(versions.modules) > 0 && Number(versions['napi']) >= 10) return undefined;
  return `holdfast: needs Node.js 22.14 or newer, and this is ${versions.node} (unsupported-runtime)`;
}

/**
 * Whether V8 is one that was seen to take --semi-space-growth-factor while it runs: that of Node 22 to 24. One that does not know a flag
 * says so on stderr, and there is no way to ask.
 */
export function growsBySemiSpaceFactor({ v8 }: NodeJS.ProcessVersions): boolean {
  const major = Number(v8.split('.')[0]);
  return major >= 12 && major <= 13;
}
