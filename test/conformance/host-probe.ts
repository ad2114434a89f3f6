/** What the host suite's tests say often: make this file, read it back, fail with that code. */
import assert from 'node:assert/strict';
import { systemCode } from '../../engine/errors.ts';
import type { Host, OpenFile } from '../../engine/host.ts';

/** Windows has neither modes nor names that outlive their file. */
export function posix(host: Host): boolean {
  return host.platform !== 'win32';
}

export function putFile(host: Host, path: string, content: string | Uint8Array): string {
  const file = host.files.open(path, 'create');
  file.write(typeof content === 'string' ? new TextEncoder().encode(content) : content, 0);
  file.close();
  return path;
}

export function readAll(file: OpenFile): Uint8Array {
  const bytes = new Uint8Array(file.facts().size + 1);
  return bytes.slice(0, file.read(bytes, 0));
}

export function getFile(host: Host, path: string): Uint8Array {
  const file = host.files.open(path, 'read');
  try {
    return readAll(file);
  } finally {
    file.close();
  }
}

/** The call throws an Error with one of these system codes. */
export function fails(codes: string | readonly string[], call: () => unknown): void {
  assert.throws(call, (error) => {
    assert.ok(error instanceof Error);
    const code = systemCode(error);
    assert.ok(
      [codes].flat().includes(code ?? ''),
      `code ${code ?? 'none'}, not ${String(codes)}: ${error.message}`,
    );
    return true;
  });
}

/** Names as text, in order. */
export function namesIn(host: Host, folder: string): string[] {
  return host.files
    .list(folder)
    .map((name) => new TextDecoder().decode(name))
    .sort();
}
