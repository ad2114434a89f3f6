/** Starts ssh to a remote while the store here is opened: the far side needs as long to open its own. */
import { StoreError, type Transport, sshTransport } from '../index.ts';

export class EarlyStart {
  readonly #address: () => Promise<string>;
  #started: Promise<Transport | undefined> | undefined;

  /** `address` is what the remote turns out to be. Only of ssh anything is started. */
  constructor(address: () => Promise<string>) {
    this.#address = address;
  }

  begin(): void {
    this.#started = this.#address().then((address) =>
      /^ssh:/i.test(address) ? sshTransport(address) : undefined,
    );
    this.#started.catch(() => undefined); // told by `take`
  }

  /** What was started, once. */
  async take(): Promise<Transport | undefined> {
    const started = this.#started;
    this.#started = undefined;
    return await started;
  }

  /** Ends what nobody took, because the store here did not open. */
  async end(): Promise<void> {
    const left = await this.take().catch(() => undefined);
    await left?.close(new StoreError('closed', 'the store here did not open'));
  }
}
