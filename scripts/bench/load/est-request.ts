import type { TLSSocket } from 'node:tls';
import { CONTENT_TYPE, EST_BASE_PATH } from '#gateway/contract/est.ts';
import { ConnectionLost } from './connection-lost.ts';

const ANSWER_MS = 20_000;

/** `retryAfter`: whether the header is there. */
export type EstReply = { status: number; body: string; retryAfter: boolean };

/** POST of a CSR and the whole answer, on a connection that carries nothing else meanwhile. */
export function postCsr(
  socket: TLSSocket,
  operation: 'simpleenroll' | 'simplereenroll',
  csr: string,
  headers = '',
): Promise<EstReply> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => end(() => reject(new Error('no answer in time'))), ANSWER_MS);
    const end = (settle: () => void) => {
      clearTimeout(timer);
      socket.off('data', onData).off('close', onClose);
      settle();
    };
    const onClose = () => end(() => reject(new ConnectionLost('closed before the answer')));
    const onData = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const headEnd = text.indexOf('\r\n\r\n');
      if (headEnd === -1) return;
      const head = text.slice(0, headEnd);
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      const body = text.slice(headEnd + 4);
      if (body.length < length) return;
      const retryAfter = /^retry-after: *\d/im.test(head);
      end(() => resolve({ status: Number(text.slice(9, 12)), body, retryAfter }));
    };
    socket.on('data', onData).on('close', onClose);
    if (socket.destroyed) return onClose();
    socket.write(
      `POST ${EST_BASE_PATH}/${operation} HTTP/1.1\r\nHost: gateway\r\nContent-Type: ${CONTENT_TYPE.csr}\r\n` +
        `${headers}Content-Length: ${csr.length}\r\n\r\n${csr}`,
    );
  });
}

/** RFC 7617. */
export function basicHeader(deviceId: string, ticket: string): string {
  return `Authorization: Basic ${Buffer.from(`${deviceId}:${ticket}`).toString('base64')}\r\n`;
}

/** @returns the body @throws Error with the status and text of anything but a certificate */
export function requireIssued({ status, body }: EstReply): string {
  if (status !== 200) throw new Error(`${status} ${body.trim()}`);
  return body;
}
