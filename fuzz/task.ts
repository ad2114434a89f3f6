/** What the watching thread asks of the one that runs a job, and what that one tells. */
import type { Failure, Order, Report } from './run.ts';

export interface Task {
  readonly job: string;
  readonly order: Order;
  /** The run it is at. */
  readonly progress: SharedArrayBuffer;
}

/** What the thread tells: a finding that is still large, and in the end everything. */
export type Told = { readonly found: Failure } | { readonly report: Report };
