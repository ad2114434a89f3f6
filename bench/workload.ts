/** What a workload is: the same work done by us and by its rivals, measured beside each other. */
import type { OpenOptions, Store } from '../src/index.ts';
import type { Build, Door } from './door.ts';
import type { DataSet } from './data.ts';
import type { Meter } from './meter.ts';
import type { Scale } from './scale.ts';

/**
 * Work that takes long to set up, made once a run of the benchmarks. It is only read, or copied, by the cases that need it; but one that
 * a single case needs, that case may change.
 */
export type PreparationName =
  | 'store-all'
  | 'store-halves'
  | 'store-huge'
  | 'replicated'
  | 'rsynced'
  | 'store-many'
  | 'table-many'
  | 'table-small'
  | 'table-large'
  | 'naive-notes';

/** What a case, or a preparation, may use. It runs in a process of its own. */
export interface Place {
  readonly door: Door;
  readonly build: Build;
  /** Opens a store as the scale wants it. */
  readonly open: (directory: string, options?: OpenOptions) => Promise<Store>;
  readonly data: DataSet;
  readonly scale: Scale;
  readonly meter: Meter;
  /** Of this run alone: absent, or a copy of what `copies` names. Removed after the run. */
  readonly target: string;
  /** The folder of a preparation that `needs` names. */
  readonly prepared: (name: PreparationName) => string;
}

export interface Case {
  /** `holdfast`, or the rival; unique in its workload. */
  readonly name: string;
  readonly ours: boolean;
  readonly needs?: readonly PreparationName[];
  /** What `target` is a copy of: a preparation, or the folder of small files. */
  readonly copies?: PreparationName | 'small-files';
  /** Opens what it needs, has the meter time the work itself, closes. */
  readonly run: (place: Place) => Promise<void>;
}

/** How a rate is counted: content bytes, operations, or the bare time where there is no rate. */
export type Unit = 'MB/s' | 'ops/s' | 's';

/** A figure to reach: ours, or ours over a rival's rate (`ratio`). Where it is said stands in `source`. */
export interface Goal {
  readonly figure: 'ratio' | 'rate' | 'seconds' | 'loopP99Ms' | 'loopMaxMs' | 'peakMB' | (string & {});
  readonly atLeast?: number;
  readonly atMost?: number;
  /** The rival of a ratio; the first one when absent. Of several, the slowest. */
  readonly rival?: string | readonly string[];
  /** Only this one of our cases. */
  readonly of?: string;
  readonly source: 'issue 2' | 'issue 3' | 'issue 4' | 'performance.md';
}

export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly unit: Unit;
  /** Of the sources: `cold` drops the machine's caches before each run, `warm` reads them first, `any` does neither. */
  readonly cache: 'cold' | 'warm' | 'any';
  /** Read beforehand when warm. */
  readonly warms?: readonly ('large' | 'small' | PreparationName)[];
  readonly cases: readonly Case[];
  readonly goals: readonly Goal[];
}
