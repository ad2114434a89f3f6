/** Typed events of a store: who listens, and telling them. */
import type { StoreEvents } from './api.ts';

type Listener = (event: never) => void;

export class Events {
  readonly #listeners = new Map<keyof StoreEvents, Set<Listener>>();

  /** Returns the function that stops listening. */
  on<Name extends keyof StoreEvents>(name: Name, listener: (event: StoreEvents[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  emit<Name extends keyof StoreEvents>(name: Name, event: StoreEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as (event: StoreEvents[Name]) => void)(event);
      } catch (error) {
        // A listener's mistake is the application's to see, and no reason for ours to fail.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
