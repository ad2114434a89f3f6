/** This machine, on which the process kills itself with SIGKILL right before the nth call on files: moments that a timer seldom meets. */
import type { Files, Host, OpenFile } from '../../engine/host.ts';
import { inlineThreads } from '../../engine/hosts/inline-threads.ts';
import { nodeHost } from '../../engine/hosts/node.ts';

export interface DyingHost extends Host {
  /** So many calls from now on it dies; before that it does not. */
  dieAt(calls: number): void;
}

export function dyingHost(): DyingHost {
  const below = nodeHost({ inline: true });
  let left = Number.POSITIVE_INFINITY;
  const counted = <Target extends object>(target: Target): Target =>
    new Proxy(target, {
      get(of, name): unknown {
        const value: unknown = Reflect.get(of, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          if (name !== 'join' && --left <= 0) process.kill(process.pid, 'SIGKILL');
          const result: unknown = Reflect.apply(value, of, args);
          return name === 'open' ? counted(result as OpenFile) : result;
        };
      },
    });
  const host: DyingHost = {
    files: counted<Files>(below.files),
    clock: below.clock,
    threads: inlineThreads(() => host),
    random: (bytes) => below.random(bytes),
    platform: below.platform,
    pid: below.pid,
    processStart: below.processStart,
    dieAt: (calls) => void (left = calls),
  };
  return host;
}
