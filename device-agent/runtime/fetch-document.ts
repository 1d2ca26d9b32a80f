import { open } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { AgentError } from '#device-agent/domain/agent-error.ts';

export type FetchOptions = { etag: string | undefined; maxBytes: number; signal: AbortSignal };
export type Fetched = { kind: 'unchanged' } | { kind: 'fetched'; etag: string | undefined };

/** Without a word for so long, the other side has gone. */
const SILENCE_MS = 30_000;

/**
 * GET into a file, octets as they come, synced at the end. Nothing here makes the document trustworthy: it is signed
 * or it is nothing.
 * @throws AgentError GATEWAY_UNREACHABLE; ANSWER_UNFIT for any status but 200 and 304, and for too many octets
 */
export async function fetchDocument(url: string, path: string, options: FetchOptions): Promise<Fetched> {
  const incoming = await get(url, options).catch((cause: unknown) => {
    throw unreachable(url, cause);
  });
  try {
    if (incoming.statusCode === 304) return { kind: 'unchanged' };
    if (incoming.statusCode !== 200)
      throw new AgentError('ANSWER_UNFIT', `${url} answers with status ${incoming.statusCode ?? 0}`);
    await save(incoming, path, options.maxBytes);
    return { kind: 'fetched', etag: incoming.headers.etag };
  } catch (cause) {
    throw cause instanceof AgentError ? cause : unreachable(url, cause);
  } finally {
    incoming.destroy();
  }
}

function get(url: string, { etag, signal }: FetchOptions): Promise<IncomingMessage> {
  if (!URL.canParse(url)) throw new AgentError('ANSWER_UNFIT', 'the address of the CRL is not one');
  const target = new URL(url);
  const request = { 'http:': requestHttp, 'https:': requestHttps }[target.protocol];
  if (request === undefined) throw new AgentError('ANSWER_UNFIT', `a CRL is not fetched over ${target.protocol}`);
  return new Promise((resolve, reject) => {
    const outgoing = request(target, {
      signal,
      agent: false,
      headers: etag === undefined ? {} : { 'If-None-Match': etag },
    });
    outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new Error('no answer in time')));
    outgoing.once('error', reject);
    outgoing.once('response', resolve);
    outgoing.end();
  });
}

async function save(incoming: IncomingMessage, path: string, maxBytes: number): Promise<void> {
  const file = await open(path, 'w', 0o644);
  try {
    let size = 0;
    for await (const part of incoming as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > maxBytes) throw new AgentError('ANSWER_UNFIT', `the CRL is larger than ${maxBytes} octets`);
      await file.write(part);
    }
    if (!incoming.complete) throw new Error('the answer broke off');
    await file.sync();
  } finally {
    await file.close();
  }
}

function unreachable(url: string, cause: unknown): AgentError {
  if (cause instanceof AgentError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new AgentError('GATEWAY_UNREACHABLE', `${url} cannot be fetched: ${why}`, { cause });
}
