/** A progress line on a terminal, with rate and time left; with --json a line of JSON a second on stderr. */
import type { Output } from './output.ts';
import { showBytes, showCount, showRate, showSeconds } from './units.ts';

export interface ProgressState {
  readonly bytes: number;
  readonly files: number;
  readonly totalBytes?: number;
  readonly totalFiles?: number;
}

const drawMs = 100;
const jsonMs = 1000;
/** The rate is that of the last seconds, so that it follows what happens. */
const windowMs = 5000;

export class Progress {
  readonly #output: Output;
  readonly #step: string;
  readonly #things: string;
  readonly #marks: { readonly at: number; readonly bytes: number; readonly files: number }[];
  #told = 0;
  #drawn = false;

  /** `things`: what is counted, in the singular: file, blob. */
  constructor(output: Output, step: string, things: string = 'file') {
    this.#output = output;
    this.#step = step;
    this.#things = things;
    this.#marks = [{ at: performance.now(), bytes: 0, files: 0 }];
  }

  update(state: ProgressState): void {
    const { json, watched } = this.#output;
    const now = performance.now();
    if ((!json && !watched) || now - this.#told < (json ? jsonMs : drawMs)) return;
    this.#told = now;
    const speed = this.#speed(now, state);
    if (json)
      this.#output.note(
        JSON.stringify({ progress: { step: this.#step, ...state, bytesPerSecond: Math.round(speed.bytes) } }),
      );
    else this.#draw(state, speed);
  }

  /** Clears the line. */
  end(): void {
    if (this.#drawn) this.#output.draw('\r\u001b[K');
    this.#drawn = false;
  }

  #speed(now: number, { bytes, files }: ProgressState): { readonly bytes: number; readonly files: number } {
    this.#marks.push({ at: now, bytes, files });
    while (this.#marks.length > 2 && now - this.#marks[0]!.at > windowMs) this.#marks.shift();
    const first = this.#marks[0]!;
    const seconds = Math.max(0.001, (now - first.at) / 1000);
    return { bytes: (bytes - first.bytes) / seconds, files: (files - first.files) / seconds };
  }

  #draw(state: ProgressState, speed: { readonly bytes: number; readonly files: number }): void {
    const parts = [
      this.#step,
      showCount(state.files, this.#things),
      showBytes(state.bytes),
      showRate(speed.bytes, 1),
    ];
    const { totalBytes, totalFiles } = state;
    if (totalBytes !== undefined && totalFiles !== undefined) {
      const done = totalBytes > 0 ? Math.min(1, state.bytes / totalBytes) : 1;
      parts.splice(1, 0, `${bar(done)} ${String(Math.floor(done * 100)).padStart(3)}%`);
      const left = Math.max(
        (totalBytes - state.bytes) / speed.bytes,
        (totalFiles - state.files) / speed.files,
      );
      if (Number.isFinite(left) && left >= 0) parts.push(`${showSeconds(left)} left`);
    }
    this.#drawn = true;
    this.#output.draw(`\r\u001b[K${parts.join('  ').slice(0, this.#output.columns - 1)}`);
  }
}

function bar(done: number): string {
  const cells = 20;
  const full = Math.round(done * cells);
  return `[${'#'.repeat(full)}${'.'.repeat(cells - full)}]`;
}
