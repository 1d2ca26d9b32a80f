import { CONTENT_TYPE, parseEstBody } from '#gateway/contract/est.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

/** `application/pkcs10`, with or without parameters; absent is accepted (RFC 7030 4.2.1, strict clients and lazy ones). */
export function checkCsrContentType(contentType: string | undefined): void {
  const [mediaType] = (contentType ?? CONTENT_TYPE.csr).split(';', 1);
  if (mediaType?.trim().toLowerCase() === CONTENT_TYPE.csr) return;
  throw new GatewayError('CONTENT_TYPE_UNSUPPORTED', 'the body is not declared as a PKCS#10 request');
}

export type CsrBody = {
  csr: Buffer;
  /** The body had line ends inside: such a client wants them in the answer too. */
  hadLines: boolean;
};

/**
 * Base64 of DER, whatever Content-Transfer-Encoding says (RFC 8951 3).
 * @throws GatewayError BODY_NOT_BASE64
 */
export function parseCsrBody(body: unknown): CsrBody {
  // latin1: every byte becomes one character, so that nothing outside base64 slips through decoding.
  const text = Buffer.isBuffer(body) ? body.toString('latin1') : '';
  const csr = parseEstBody(text);
  if (csr !== undefined) return { csr, hadLines: text.trim().includes('\n') };
  if (text.trim() === '') throw new GatewayError('BODY_NOT_BASE64', 'the body is empty');
  if (text.includes('-----BEGIN')) throw new GatewayError('BODY_NOT_BASE64', 'the body is PEM');
  throw new GatewayError('BODY_NOT_BASE64', 'the body is not base64');
}
