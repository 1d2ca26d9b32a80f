import { lstat, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Logger } from 'pino';
import { AuthorityError, type SucceededAuthority } from '#ca/ports/certificate-authority.ts';
import { answerRequest } from './answer-request.ts';
import { type Frame, FrameReader, formatFrame } from './frame.ts';

export type AuthorityServer = { close(): Promise<void> };

/** Workers of one gateway and an operator's command; more means something leaks connections. */
const MAX_CONNECTIONS = 32;
/** Requests of one connection worked on together; past it the socket is not read, and its sender has to wait. */
const MAX_IN_FLIGHT = 256;
/** Answers not yet taken, per connection. */
const MAX_UNSENT_BYTES = 32 * 1024 * 1024;

/**
 * The authority on a unix socket that only its owner can open (0600 from the first moment).
 * @throws AuthorityError AUTHORITY_FAILED when another authority answers there, or the path cannot be used
 */
export async function listenAuthority(
  authority: SucceededAuthority,
  options: { path: string; log: Logger },
): Promise<AuthorityServer> {
  const { path, log } = options;
  await removeStaleSocket(path);
  const connections = new Set<Connection>();
  const server = createServer((socket) => {
    const connection = new Connection(authority, socket, log);
    connections.add(connection);
    socket.once('close', () => connections.delete(connection));
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, path);
  server.on('error', (error) => log.error({ err: error }, 'authority socket failed'));
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections) connection.finish();
      await closed;
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new AuthorityError('AUTHORITY_FAILED', `the authority cannot listen on ${path}`, { cause }));
    });
    server.once('listening', resolve);
    // The socket file is made inside this call: with the mask there is no moment in which others could connect.
    const mask = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(mask);
    }
  });
}

/** A socket left by a crash: removed only when nobody answers on it. */
async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  // A plain file refuses connections just as a dead socket does.
  if (!found.isSocket()) throw new AuthorityError('AUTHORITY_FAILED', `${path} is in the way and is not a socket`);
  const isAnswering = await new Promise<boolean>((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ECONNREFUSED' || cause.code === 'ENOENT') resolve(false);
      else reject(new AuthorityError('AUTHORITY_FAILED', `the socket ${path} cannot be used`, { cause }));
    });
  });
  if (isAnswering) throw new AuthorityError('AUTHORITY_FAILED', `another authority answers on ${path}`);
  await rm(path, { force: true });
}

class Connection {
  readonly #authority: SucceededAuthority;
  readonly #socket: Socket;
  readonly #log: Logger;
  readonly #reader = new FrameReader();
  /** Read already, not begun. */
  readonly #backlog: Frame[] = [];
  #inFlight = 0;
  #finishing = false;

  constructor(authority: SucceededAuthority, socket: Socket, log: Logger) {
    this.#authority = authority;
    this.#socket = socket;
    this.#log = log;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.#flow());
    socket.on('error', (error) => log.debug({ err: error }, 'authority connection broke'));
  }

  /** Answers what is under way, then hangs up, whether or not the peer does. */
  finish(): void {
    this.#finishing = true;
    this.#socket.pause();
    if (this.#inFlight === 0) this.#socket.destroySoon();
  }

  #read(chunk: Buffer): void {
    try {
      this.#backlog.push(...this.#reader.read(chunk));
    } catch (error) {
      this.#log.warn({ err: error }, 'authority connection sent no frame');
      this.#socket.destroy();
      return;
    }
    this.#flow();
  }

  /** Never rejects: what fails becomes an answer or the end of the connection. */
  async #answer(frame: Frame): Promise<void> {
    this.#inFlight += 1;
    const answer = await answerRequest(this.#authority, frame, (error) => {
      this.#log.error({ err: error }, 'authority request failed');
    });
    this.#inFlight -= 1;
    if (answer === undefined) {
      this.#log.warn('authority connection sent a request without id');
      this.#socket.destroy();
    } else if (this.#socket.writable) {
      const [head, attachment] = formatFrame(answer.response, answer.attachment);
      this.#socket.cork();
      this.#socket.write(head);
      if (attachment.length > 0) this.#socket.write(attachment);
      this.#socket.uncork();
    }
    this.#flow();
  }

  #flow(): void {
    while (!this.#isFull()) {
      const frame = this.#backlog.shift();
      if (frame === undefined) break;
      // Not awaited: it never rejects, and comes back here when it is done.
      void this.#answer(frame);
    }
    if (this.#finishing) {
      if (this.#inFlight === 0) this.#socket.destroySoon();
    } else if (this.#isFull()) this.#socket.pause();
    else this.#socket.resume();
  }

  #isFull(): boolean {
    return this.#inFlight >= MAX_IN_FLIGHT || this.#socket.writableLength > MAX_UNSENT_BYTES;
  }
}
