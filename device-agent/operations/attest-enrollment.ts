import { formatAttestationAttribute } from '#ca/pkix/attestation-attribute.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import type { EnrollmentRequest, EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { Attester, DeviceKey } from '#device-agent/ports/key-provider.ts';
import { explainRefusal } from './explain-refusal.ts';

/**
 * Round trip 1 of an attested enrollment, and the evidence for round trip 2: the TPM opens what only the TPM with this
 * endorsement key and this attestation key can open, and certifies the key of the request together with it.
 * @returns the CSR attribute id-aa-attestation, DER.
 * @throws AgentError GATEWAY_REFUSED, GATEWAY_BUSY, GATEWAY_UNREACHABLE, ANSWER_UNFIT, TPM_UNUSABLE
 */
export async function attestEnrollment(
  attester: Attester,
  session: EnrollmentSession,
  request: { key: DeviceKey; attemptId: string; basic?: EnrollmentRequest['basic'] },
  signal?: AbortSignal,
): Promise<Buffer> {
  const { key, attemptId, basic } = request;
  const identity = await attester.identify();
  const answer = await session.requestTpmChallenge({ identity, attemptId, ...(basic ? { basic } : {}) }, signal);
  if (answer.kind === 'refused') throw explainRefusal(answer);
  const secret = await attester.activate(answer);
  const evidence = await attester.certify(key.pem, bindEvidence(secret, key.publicKey));
  return formatAttestationAttribute(evidence);
}
