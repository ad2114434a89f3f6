/** Gives a test a store and folders of its own, and ends it with a scrub. A test that fails keeps its folder. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import {
  type ImportOptions,
  type ImportResult,
  type OpenOptions,
  type Store,
  importPaths,
  openStore,
} from '../../src/index.ts';

export class Workplace {
  readonly folder: string;
  readonly store: Store;

  private constructor(folder: string, store: Store) {
    this.folder = folder;
    this.store = store;
  }

  /** The store is on the calling thread unless the test wants threads. */
  static async open(t: TestContext, options: OpenOptions = {}): Promise<Workplace> {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-snapshot-'));
    const place = new Workplace(
      folder,
      await openStore(join(folder, 'store'), { threads: { count: 0 }, ...options }),
    );
    t.after(async () => {
      try {
        const { damaged, badRows, recounted } = await place.store.scrub();
        assert.deepEqual({ damaged, badRows, recounted }, { damaged: [], badRows: 0, recounted: 0 });
      } finally {
        await place.store.close();
      }
      if (passed(t)) execFileSync('rm', ['-rf', folder]);
      else t.diagnostic(`kept ${folder}`);
    });
    return place;
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts);
  }

  /** Writes files; keys are paths below the workplace. */
  write(files: Readonly<Record<string, string | Uint8Array>>): void {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(this.path(path)), { recursive: true });
      writeFileSync(this.path(path), content);
    }
  }

  import(paths: readonly string[], options: ImportOptions = {}): Promise<ImportResult> {
    return importPaths(
      this.store,
      paths.map((path) => this.path(path)),
      options,
    );
  }
}

/** Lets the cache believe what it sees now: as if the scan took place ten seconds later. */
export function later(t: TestContext): void {
  const now = Date.now;
  t.mock.method(Date, 'now', () => now() + 10_000);
}

/** A store of which some methods are watched or replaced. */
export function wrapStore(store: Store, changes: Partial<Store>): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name in changes) return changes[name as keyof Store];
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** Runs as somebody who may not read everything; root may. */
export async function asNobody<Result>(work: () => Promise<Result>): Promise<Result> {
  if (process.geteuid?.() !== 0) return await work();
  process.seteuid!(65_534);
  try {
    return await work();
  } finally {
    process.seteuid!(0);
  }
}

/** Node tells this in an after hook; its types do not know it yet. */
function passed(t: TestContext): boolean {
  return (t as TestContext & { readonly passed: boolean }).passed;
}
