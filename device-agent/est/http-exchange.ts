import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { formatAddress } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import type { EstTarget } from '#device-agent/ports/est-client.ts';
import type { DialGateway } from './dial-gateway.ts';

export type HttpRequest = {
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  body?: string;
  /** Goes over this connection or not at all, and the connection is closed after it; so it follows no redirect. */
  boundTo?: TLSSocket;
};
export type HttpAnswer = {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  /** notAfter of the certificate in TLS, milliseconds UTC. */
  servedUntil: number;
  /** The connection it came over; it may have ended since. */
  connection: TLSSocket | undefined;
};

const DIAL_TIMEOUT_MS = 15_000;
const ANSWER_TIMEOUT_MS = 60_000;
/** Chains and error texts are a few KiB; more would only fill the memory. */
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_REDIRECTS = 3;

/**
 * HTTP/1.1 over one TLS connection of ours, kept for the next request. Plain `node:http` on sockets that the dialer has
 * verified: there is no second place where trust is decided.
 */
export class HttpExchange {
  readonly #target: Omit<EstTarget, 'trust'>;
  /** Who answers has not proved who it is: what it says is not obeyed, redirects neither (RFC 7030 4.1.1). */
  readonly #isUnverified: boolean;
  readonly #agent: Agent;

  constructor(dial: DialGateway, target: Omit<EstTarget, 'trust'> & { trust: EstTarget['trust'] | 'unverified' }) {
    this.#target = target;
    this.#isUnverified = target.trust === 'unverified';
    this.#agent = new TlsAgent((signal) =>
      dial({ ...target, protocol: 'http/1.1', timeoutMs: DIAL_TIMEOUT_MS }, signal),
    );
  }

  /** @throws AgentError; any status that is not a redirect is an answer. */
  async send(message: HttpRequest, signal?: AbortSignal): Promise<HttpAnswer> {
    let path = message.path;
    for (let redirects = 0; ; redirects += 1) {
      const answer = await this.#once({ ...message, path }, signal);
      if (![301, 302, 307, 308].includes(answer.status)) return answer;
      path = this.#redirectedPath({ ...message, path }, answer.headers.location, redirects);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /**
   * RFC 7030 3.2.1: within the origin without asking; another origin would need checks and a consent nobody can give here,
   * and a CSR that is bound to this connection another CSR.
   */
  #redirectedPath(message: HttpRequest, location: string | undefined, redirects: number): string {
    const { host, port } = this.#target.address;
    const origin = `https://${formatAddress({ host, port })}`;
    const next =
      location !== undefined && URL.canParse(location, origin + message.path)
        ? new URL(location, origin + message.path)
        : undefined;
    if (this.#isUnverified || next?.origin !== new URL(origin).origin) throw redirected('to another place');
    if (message.boundTo) throw redirected('a request that is bound to its connection');
    if (redirects === MAX_REDIRECTS) throw redirected('without end');
    return next.pathname + next.search;
  }

  #once(message: HttpRequest, signal: AbortSignal | undefined): Promise<HttpAnswer> {
    const { address } = this.#target;
    return new Promise((resolve, reject) => {
      const outgoing = request({
        agent: this.#agent,
        host: address.host,
        port: address.port,
        method: message.method,
        path: message.path,
        headers: {
          ...message.headers,
          Host: formatAddress(address),
          ...(message.body === undefined ? {} : { 'Content-Length': Buffer.byteLength(message.body) }),
          ...(message.boundTo ? { Connection: 'close' } : {}),
        },
        ...(signal ? { signal } : {}),
      });
      outgoing.setTimeout(ANSWER_TIMEOUT_MS, () => outgoing.destroy(new Error('no answer in time')));
      outgoing.once('error', (error) => reject(networkError(error, formatAddress(address), signal)));
      outgoing.once('socket', (socket) => {
        if (message.boundTo && socket !== message.boundTo)
          outgoing.destroy(new Error('it ended before the request that was made for it'));
      });
      outgoing.once('response', (incoming) => {
        const connection = incoming.socket instanceof TLSSocket ? incoming.socket : undefined;
        const servedUntil = notAfterOf(connection);
        readBody(incoming).then(
          (body) =>
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body, servedUntil, connection }),
          (error: unknown) => reject(networkError(error, formatAddress(address), signal)),
        );
      });
      outgoing.end(message.body);
    });
  }
}

function redirected(how: string): AgentError {
  return new AgentError('ANSWER_UNFIT', `the gateway redirects ${how}`, {
    advice: 'use a join URL with the address of the gateway itself',
  });
}

class TlsAgent extends Agent {
  readonly #open: (signal: AbortSignal) => Promise<Duplex>;
  readonly #closing = new AbortController();

  constructor(open: (signal: AbortSignal) => Promise<Duplex>) {
    super({ keepAlive: true, maxSockets: 1 });
    this.#open = open;
  }

  override createConnection(...[, done]: Parameters<Agent['createConnection']>): undefined {
    void this.#hand(done);
    return undefined;
  }

  override destroy(): void {
    this.#closing.abort();
    super.destroy();
  }

  /** The callback of the agent takes a socket or an error; it is called once, and what it throws is not ours. */
  async #hand(done: Parameters<Agent['createConnection']>[1]): Promise<void> {
    let socket: Duplex;
    try {
      socket = await this.#open(this.#closing.signal);
    } catch (error) {
      done?.(asAgentError(error, 'GATEWAY_UNREACHABLE'), undefined as never);
      return;
    }
    done?.(null, socket);
  }
}

/** 0, with which nothing is vouched for, when there is none. */
function notAfterOf(connection: TLSSocket | undefined): number {
  const shown = connection?.getPeerX509Certificate();
  return shown ? shown.validToDate.getTime() : 0;
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of incoming as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > MAX_ANSWER_BYTES) throw new AgentError('ANSWER_UNFIT', 'the answer of the gateway is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function networkError(error: unknown, at: string, signal: AbortSignal | undefined): AgentError {
  if (error instanceof AgentError) return error;
  if (signal?.aborted === true)
    return new AgentError('STOPPED', 'stopped while waiting for the gateway', { cause: error });
  const why = error instanceof Error ? error.message : String(error);
  return new AgentError('GATEWAY_UNREACHABLE', `the connection to ${at} broke: ${why}`, {
    cause: error,
    advice: 'nothing is lost: the same command asks again with the same key',
  });
}
