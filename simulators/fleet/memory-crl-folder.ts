import { createHash } from 'node:crypto';
import { get, type IncomingMessage } from 'node:http';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { CrlDownload, CrlFolder } from '#device-agent/ports/crl-folder.ts';

/** What all devices of a process have fetched and heard of. */
export type CrlTraffic = { fetched: number; octets: number; told: number };

const SILENCE_MS = 30_000;

/** By their content: all devices hold the same, which each would have on a disk of its own. */
const shared = new Map<string, Buffer>();
/** Lists are replaced; nobody holds the oldest of so many any more. */
const MOST_SHARED = 32;

function share(der: Buffer): Buffer {
  const name = createHash('sha256').update(der).digest('base64');
  const known = shared.get(name);
  if (known !== undefined) return known;
  const [oldest] = shared.keys();
  if (shared.size >= MOST_SHARED && oldest !== undefined) shared.delete(oldest);
  shared.set(name, der);
  return der;
}

/** A device's `crl/` in memory: fetched by a request of its own, as the agent does, and held once for all devices. */
export class MemoryCrlFolder implements CrlFolder {
  readonly #traffic: CrlTraffic;
  readonly #crls = new Map<string, Buffer>();
  #issuers: readonly Buffer[] = [];
  #chosen: string | undefined;
  #draft: Buffer | undefined;
  #revoked: unknown;

  constructor(traffic: CrlTraffic) {
    this.#traffic = traffic;
  }

  async readCrls(): Promise<Map<string, Buffer>> {
    return new Map(this.#crls);
  }

  async readIssuers(): Promise<Buffer[]> {
    return [...this.#issuers];
  }

  async readChosen(): Promise<string | undefined> {
    return this.#chosen;
  }

  /** @throws AgentError GATEWAY_UNREACHABLE, ANSWER_UNFIT */
  async download(
    url: string,
    { etag, maxBytes, signal }: { etag: string | undefined; maxBytes: number; signal: AbortSignal },
  ): Promise<CrlDownload> {
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
      let octets = 0;
      for await (const part of answer as AsyncIterable<Buffer>) {
        octets += part.length;
        if (octets > maxBytes) throw new AgentError('ANSWER_UNFIT', `${url} is larger than ${maxBytes} octets`);
        parts.push(part);
      }
      this.#draft = share(Buffer.concat(parts));
      this.#traffic.fetched += 1;
      this.#traffic.octets += octets;
      return { kind: 'fetched', der: this.#draft, etag: answer.headers.etag };
    } catch (cause) {
      if (cause instanceof AgentError) throw cause;
      throw new AgentError('GATEWAY_UNREACHABLE', `${url} cannot be fetched: ${String(cause)}`, { cause });
    }
  }

  async accept(keyId: string): Promise<void> {
    if (this.#draft !== undefined) this.#crls.set(keyId, this.#draft);
    this.#draft = undefined;
  }

  async discard(): Promise<void> {
    this.#draft = undefined;
  }

  async choose(keyId: string): Promise<void> {
    this.#chosen = keyId;
  }

  async remove(keyId: string): Promise<void> {
    this.#crls.delete(keyId);
    if (this.#chosen === keyId) this.#chosen = undefined;
  }

  async writeTogether(_crls: readonly Buffer[], issuers: readonly Buffer[]): Promise<void> {
    this.#issuers = issuers;
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
