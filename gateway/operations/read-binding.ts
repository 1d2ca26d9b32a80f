import type { CertificateRequest } from '#ca/pkix/csr.ts';
import type { CsrBinding, VerifyBinding } from '#gateway/domain/channel-binding.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

/**
 * Whether a CSR is made for the session it came over.
 * @param isPassedOn by a registrar: its device may have bound it to their session, of which nothing is known here
 *   (RFC 7030 3.7). That proves nothing, and is no reason to refuse.
 * @throws GatewayError CSR_BINDING_INVALID
 */
export function readBinding(
  { challengePassword }: Pick<CertificateRequest, 'challengePassword'>,
  verify: VerifyBinding,
  { isPassedOn }: { isPassedOn: boolean },
): CsrBinding {
  if (challengePassword === undefined) return 'none';
  try {
    verify(challengePassword);
    return 'verified';
  } catch (error) {
    if (isPassedOn && error instanceof GatewayError && error.code === 'CSR_BINDING_INVALID') return 'none';
    throw error;
  }
}
