import type { IncomingMessage } from 'node:http';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

/**
 * What Node would refuse by itself with an empty answer: RFC 9112 3.2 (one Host line in HTTP/1.1), RFC 9110 10.1.1
 * (an expectation nobody can meet; 100-continue is met by Node).
 * @returns the refusal and its status, undefined when nothing is wrong
 */
export function unmetHttpDemand(request: IncomingMessage): { status: 400 | 417; refusal: GatewayError } | undefined {
  const hosts = request.headersDistinct.host?.length ?? 0;
  if (hosts > 1 || (hosts === 0 && request.httpVersion === '1.1')) {
    const message = hosts === 0 ? 'the Host header is missing' : 'there is more than one Host header';
    return { status: 400, refusal: new GatewayError('REQUEST_INVALID', message) };
  }
  const { expect } = request.headers;
  if (expect !== undefined && request.httpVersion === '1.1' && !/\b100-continue\b/i.test(expect)) {
    return {
      status: 417,
      refusal: new GatewayError('REQUEST_INVALID', 'the Expect header asks for what is not known'),
    };
  }
  return undefined;
}
