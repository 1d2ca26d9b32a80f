import { once } from 'node:events';
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { PATIENCE_MS as OWED_MS } from '#test/fixtures/processes/eventually.ts';

/** Longer than a door mostly takes to answer and close; what is still open then is cut from here. */
const PATIENCE_MS = 1_500;
/** A door that has said nothing for so long waits for more, which never comes: time to end. */
const QUIET_MS = 80;
/** The same where the handshake has shown that everything takes longer now, in handshakes. */
const QUIET_HANDSHAKES = 4;
/** A handshake that went wrong may leave both sides waiting. */
const HANDSHAKE_MS = 400;

/** Says these octets on a bare connection, then that there is no more. @returns what came back until it was closed */
export async function sayPlainly(port: number, octets: Buffer): Promise<Buffer> {
  const socket = connectTcp(port, '127.0.0.1');
  socket.once('connect', () => socket.end(octets));
  return await untilClosed(socket, PATIENCE_MS);
}

export type Listening = {
  /** Nothing more is waited for; left out: the door has the last word. */
  isEnough?: (heard: Buffer) => boolean;
  /** An answer must come, however busy the machine is: silence counts from its first octet. */
  isOwed?: boolean;
};

/** Says these parts inside TLS, listens, and ends. @returns what came back until it was closed */
export async function sayInTls(
  port: number,
  parts: readonly Buffer[],
  options: ConnectionOptions,
  { isEnough = () => false, isOwed = false }: Listening = {},
): Promise<Buffer> {
  const socket = connectTls({ host: '127.0.0.1', port, servername: 'localhost', ...options });
  socket.setNoDelay(true);
  const end = () => void socket.end();
  let heard = Buffer.alloc(0);
  let quiet: NodeJS.Timeout | undefined;
  const began = performance.now();
  let quietMs = QUIET_MS;
  socket.once('secureConnect', () => {
    for (const part of parts) socket.write(part);
    quietMs = Math.max(QUIET_MS, QUIET_HANDSHAKES * (performance.now() - began));
    if (!isOwed) quiet = setTimeout(end, quietMs);
  });
  socket.on('data', (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk]);
    clearTimeout(quiet);
    if (isEnough(heard)) end();
    else quiet = setTimeout(end, quietMs);
  });
  await untilClosed(socket, isOwed ? OWED_MS : PATIENCE_MS);
  clearTimeout(quiet);
  return heard;
}

/** Says it inside TLS and is gone before it can be answered, as a device whose radio fails. */
export async function sayAndVanish(port: number, octets: Buffer, options: ConnectionOptions): Promise<void> {
  const tcp = connectTcp(port, '127.0.0.1');
  const closed = untilClosed(tcp, PATIENCE_MS);
  const tls = connectTls({ socket: tcp, servername: 'localhost', ...options });
  tls.on('error', () => {});
  tls.once('secureConnect', () => tls.write(octets, () => tcp.resetAndDestroy()));
  await closed;
  tls.destroy();
}

export type Spoiling = { at: number; how: 'cut' | 'flip' | 'double' | 'stop' };

/** A TLS handshake, and what is said after it, in which the octet with this number goes wrong. */
export async function shakeHandsBadly(port: number, spoiling: Spoiling, options: ConnectionOptions): Promise<void> {
  const tcp = connectTcp(port, '127.0.0.1');
  const closed = untilClosed(tcp, HANDSHAKE_MS);
  const tls = connectTls({ socket: new SpoilingStream(tcp, spoiling), servername: 'localhost', ...options });
  tls.on('error', () => tcp.end());
  tls.once('secureConnect', () => tls.end('GET / HTTP/1.1\r\n\r\n'));
  tls.resume();
  await closed;
  tls.destroy();
}

/** What a TLS client of this machine says first. */
export async function recordClientHello(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const client = connectTls({ host: '127.0.0.1', port, servername: 'localhost', ...options });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}

/** Resolves when it is closed, with all it has heard. Errors are part of the game. */
function untilClosed(socket: Socket, patienceMs: number): Promise<Buffer> {
  const heard: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => heard.push(chunk));
  socket.on('error', () => {});
  const impatience = setTimeout(() => socket.destroy(), patienceMs);
  return new Promise((resolve) => {
    socket.once('close', () => {
      clearTimeout(impatience);
      resolve(Buffer.concat(heard));
    });
  });
}

/** Hands everything on, but for one octet of what is sent. */
class SpoilingStream extends Duplex {
  readonly #tcp: Socket;
  readonly #spoiling: Spoiling;
  #sent = 0;

  constructor(tcp: Socket, spoiling: Spoiling) {
    super();
    this.#tcp = tcp;
    this.#spoiling = spoiling;
    tcp.on('data', (chunk: Buffer) => this.push(chunk));
    tcp.once('close', () => this.destroy());
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const index = this.#spoiling.at - this.#sent;
    this.#sent += chunk.length;
    if (index < 0 || index >= chunk.length || this.#tcp.destroyed) {
      if (this.#tcp.writable) this.#tcp.write(chunk);
      done();
      return;
    }
    const [before, octet, after] = [
      chunk.subarray(0, index),
      chunk.subarray(index, index + 1),
      chunk.subarray(index + 1),
    ];
    switch (this.#spoiling.how) {
      case 'cut':
        this.#tcp.write(before, () => this.#tcp.resetAndDestroy());
        break;
      case 'stop':
        this.#tcp.end(before);
        break;
      case 'flip':
        this.#tcp.write(Buffer.concat([before, Buffer.of((octet[0] ?? 0) ^ 0x40), after]));
        break;
      case 'double':
        this.#tcp.write(Buffer.concat([before, octet, octet, after]));
        break;
    }
    done();
  }

  override _final(done: () => void): void {
    this.#tcp.end();
    done();
  }
}

/** Each input once, `lanes` at a time: as many as an address may try at once without being told to wait. */
export async function inLanes<T>(
  inputs: readonly T[],
  lanes: number,
  work: (input: T) => Promise<void>,
): Promise<void> {
  const rest = [...inputs];
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let input = rest.shift(); input !== undefined; input = rest.shift()) await work(input);
    }),
  );
}
