import { AuthorityError, type CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

/** For what an operator asks. @throws GatewayError AUTHORITY_UNAVAILABLE for every AuthorityError, with its words */
export async function askAuthority<T>(
  authority: CertificateAuthority,
  work: (authority: CertificateAuthority) => Promise<T>,
): Promise<T> {
  try {
    return await work(authority);
  } catch (cause) {
    if (!(cause instanceof AuthorityError)) throw cause;
    throw new GatewayError('AUTHORITY_UNAVAILABLE', `the certificate authority did not do it: ${cause.message}`, {
      cause,
      retryAfter: 5,
    });
  }
}
