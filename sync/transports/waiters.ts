/** What waits for a transport's state to change: each change wakes all, and each looks for itself. */

export class Waiters {
  #wakes: (() => void)[] = [];

  /** Resolves at the next change. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#wakes.push(resolve));
  }

  changed(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }
}

/** How an end of a transport was closed: cleanly, or with a reason. */
export type Closing = { readonly reason: Error | undefined };

/** What `receive` gives after its own side was closed: nothing, or the reason. */
export function afterClose({ reason }: Closing): undefined {
  if (reason !== undefined) throw reason;
  return undefined;
}
