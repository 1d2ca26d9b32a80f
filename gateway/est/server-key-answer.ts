import { randomUUID } from 'node:crypto';
import { formatCertsOnly } from '#ca/pkix/cms.ts';
import { CONTENT_TYPE, formatEstBody } from '#gateway/contract/est.ts';
import type { ServerKeyAnswer } from './est-deps.ts';
import type { EstAnswer } from './send-answer.ts';

const PKCS8 = 'application/pkcs8';

/**
 * RFC 7030 4.4.2: two parts, the key and the certificate, each base64. The parts say so, for BouncyCastle; the whole is
 * not base64, so its header does not. The key is protected by this TLS session alone.
 */
export function serverKeyAnswer({ privateKey, certificate }: ServerKeyAnswer, lines: boolean): EstAnswer {
  const boundary = `gatehouse-${randomUUID()}`;
  const parts = [
    { type: PKCS8, der: privateKey },
    { type: CONTENT_TYPE.certsOnly, der: formatCertsOnly([certificate]) },
  ].map(
    ({ type, der }) =>
      `--${boundary}\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: base64\r\n\r\n` +
      `${formatEstBody(der, { lines }).trimEnd()}\r\n`,
  );
  return {
    status: 200,
    contentType: `multipart/mixed; boundary=${boundary}`,
    body: `${parts.join('')}--${boundary}--\r\n`,
    headers: { 'Cache-Control': 'no-store' },
  };
}
