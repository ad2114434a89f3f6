/** The session that holds collection back while a store is read for a peer. */
import { type Session, type Store, StoreError } from '../../engine/index.ts';

/** Undefined in a store that is open for reading only: it cannot hold collection back, and is collected by nobody but other processes. */
export async function readingSession(store: Store): Promise<Session | undefined> {
  try {
    return await store.session();
  } catch (error) {
    if (StoreError.is(error, 'forbidden')) return undefined;
    throw error;
  }
}
