import { EST_BASE_PATH } from '#gateway/contract/est.ts';
import type { HttpMessage } from './mutate-http.ts';

/** @param path an EST operation, or a whole path when it starts with `/` */
export function get(path: string): HttpMessage {
  return {
    line: `GET ${path.startsWith('/') ? path : `${EST_BASE_PATH}/${path}`} HTTP/1.1`,
    headers: ['Host: localhost'],
    body: '',
  };
}

/** @param more headers */
export function post(path: string, type: string, body: string, more: Record<string, string> = {}): HttpMessage {
  const headers = {
    Host: 'localhost',
    'Content-Type': type,
    'Content-Length': String(Buffer.byteLength(body)),
    ...more,
  };
  return {
    line: `POST ${path.startsWith('/') ? path : `${EST_BASE_PATH}/${path}`} HTTP/1.1`,
    headers: Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    body,
  };
}

/** A head, and as much body as it announces. */
export function isWholeAnswer(heard: Buffer): boolean {
  const text = heard.toString('latin1');
  const end = text.indexOf('\r\n\r\n');
  const length = Number(/^content-length: (\d+)\r$/im.exec(text.slice(0, end + 1))?.[1] ?? Number.NaN);
  return end !== -1 && heard.length >= end + 4 + length;
}
