import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/**
 * Node takes one connection from a listening socket in each turn of its event loop (libuv since 1.45), and a turn of a
 * busy gateway lasts as long as a commit: with one socket, more newcomers than commits would wait in the kernel,
 * unseen, for seconds. Linux spreads them evenly over sockets that share a port.
 */
const SOCKETS = process.platform === 'linux' ? 64 : 1;
/** Of each socket. Few: who waits here is known to nobody, and is neither refused nor taken in turn. */
const BACKLOG = SOCKETS === 1 ? 1024 : 32;

export type Listening = {
  /** The one that was asked for, or picked. */
  port: number;
  /** Accepts nothing more; resolves when all connections have ended. */
  close(): Promise<void>;
};

/**
 * Has a server take what comes to a port.
 * @param server it sees no difference: connections of the other sockets come by its event `connection`, too
 * @throws Error of node:net when the port is taken or the host is not ours.
 */
export async function listenTogether(
  server: Server,
  { host, port }: { host: string; port: number },
  options: { pauseOnConnect: boolean; noDelay: boolean },
): Promise<Listening> {
  if (SOCKETS > 1) await requireFree({ host, port });
  const servers = [server];
  const close = async () => {
    await Promise.all(
      servers.filter(({ listening }) => listening).map((one) => new Promise((resolve) => one.close(resolve))),
    );
  };
  try {
    const taken = await listen(server, { host, port });
    while (servers.length < SOCKETS) {
      const another = createServer(options, (socket: Socket) => server.emit('connection', socket));
      servers.push(another);
      await listen(another, { host, port: taken });
    }
    return { port: taken, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Those who share a port are let in by the kernel without a word: another gateway on it would get half of the devices. */
async function requireFree(at: { host: string; port: number }): Promise<void> {
  const probe = createServer();
  await listen(probe, at, { reusePort: false });
  await new Promise((resolve) => probe.close(resolve));
}

function listen(
  server: Server,
  at: { host: string; port: number },
  { reusePort }: { reusePort: boolean } = { reusePort: SOCKETS > 1 },
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...at, backlog: BACKLOG, reusePort }, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
