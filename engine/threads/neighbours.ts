/** Two worker threads that make digests for each other, over a port of their own. */
import type { Provider } from '../codec/provider.ts';
import { DigestLink, DigestService } from '../content/digest-link.ts';
import type { Host } from '../host.ts';
import { Remote, serve } from '../rpc.ts';

/** `end` is of a channel whose other end the neighbour joins. */
export function digestLink(end: unknown, host: Host, provider: Provider): DigestLink {
  const port = host.threads.join(end);
  serve(port, new DigestService(host, provider).handlers());
  return new DigestLink(new Remote(port));
}
