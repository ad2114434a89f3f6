/** What the host suite is given for each test, and the shape of its tests. */
import type { Host } from '../../engine/host.ts';

/** A fresh host for one test. */
export interface HostUnderTest {
  readonly host: Host;
  /** An empty folder of the host, by its real path. */
  readonly folder: string;
  /** Lets time pass on a host whose clock does not move by itself. */
  readonly pass?: (ms: number) => void;
  /** Makes an empty file whose name is no UTF-8, where the file system allows it. */
  readonly makeRawName?: (folder: string, name: Uint8Array) => void;
  /**
   * A module that exports `run(port, host)` and, in a real thread, calls it. It must: throw when it receives 'die'; for
   * `{ end, say? }` join that end of a channel, post `{ heard }` to its port for every message from there, and post `say`
   * there if given; for any other message post `{ echo: message, platform: host.platform }`. Without it threads go untested.
   */
  readonly threadEntry?: URL;
  readonly dispose?: () => void | Promise<void>;
}

export type MakeHost = () => HostUnderTest | Promise<HostUnderTest>;

/** One promise, as a test: it gets a host of its own. */
export type HostTest = (under: HostUnderTest) => void | Promise<void>;
export type HostTests = Readonly<Record<string, HostTest>>;
