import { get, type IncomingMessage } from 'node:http';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { CrlDownload, CrlFolder } from '#device-agent/ports/crl-folder.ts';

/** What all devices of a process have fetched and heard of. */
export type CrlTraffic = { fetched: number; octets: number; told: number };

const SILENCE_MS = 30_000;

/** The same for all devices: what each would have on a disk of its own. */
let newest: Buffer | undefined;

/** A device's `crl/` in memory: fetched by a request of its own, as the agent does, and held once for all devices. */
export class MemoryCrlFolder implements CrlFolder {
  readonly #traffic: CrlTraffic;
  #draft: Buffer | undefined;
  #crl: Buffer | undefined;
  #revoked: unknown;

  constructor(traffic: CrlTraffic) {
    this.#traffic = traffic;
  }

  async readCrl(): Promise<Buffer | undefined> {
    return this.#crl;
  }

  /** @throws AgentError GATEWAY_UNREACHABLE, ANSWER_UNFIT */
  async download(url: string, etag: string | undefined, signal: AbortSignal): Promise<CrlDownload> {
    try {
      const answer = await request(url, etag, signal);
      if (answer.statusCode === 304) {
        answer.destroy();
        return { kind: 'unchanged' };
      }
      if (answer.statusCode !== 200) {
        answer.destroy();
        throw new AgentError('ANSWER_UNFIT', `${url} answers with status ${answer.statusCode ?? 0}`);
      }
      const parts: Buffer[] = [];
      for await (const part of answer as AsyncIterable<Buffer>) parts.push(part);
      const der = Buffer.concat(parts);
      if (newest?.equals(der) !== true) newest = der;
      this.#draft = newest;
      this.#traffic.fetched += 1;
      this.#traffic.octets += der.length;
      return { kind: 'fetched', der: newest, etag: answer.headers.etag };
    } catch (cause) {
      if (cause instanceof AgentError) throw cause;
      throw new AgentError('GATEWAY_UNREACHABLE', `${url} cannot be fetched: ${String(cause)}`, { cause });
    }
  }

  async accept(): Promise<void> {
    this.#crl = this.#draft;
    this.#draft = undefined;
  }

  async discard(): Promise<void> {
    this.#draft = undefined;
  }

  async readRevoked(): Promise<unknown> {
    return this.#revoked;
  }

  async writeRevoked(value: unknown): Promise<void> {
    this.#traffic.told += 1;
    this.#revoked = value;
  }
}

/** A connection of its own for each, as for devices that do not share a process. */
function request(url: string, etag: string | undefined, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = etag === undefined ? {} : { 'If-None-Match': etag };
    const outgoing = get(url, { agent: false, headers, signal }, resolve);
    outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new Error('no answer in time')));
    outgoing.once('error', reject);
  });
}
