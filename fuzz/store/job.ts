/** Placeholder of the store job. */
import type { Job } from '../job.ts';
export const storeJob: Job = undefined as unknown as Job;
export const storeCanaryJobs: readonly Job[] = [];
