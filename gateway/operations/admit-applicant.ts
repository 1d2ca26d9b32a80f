import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import type { VerifyBinding } from '#gateway/domain/channel-binding.ts';
import { type AuthorizeDeps, authorizeEnrollment, type EnrollmentCredentials } from './authorize-enrollment.ts';
import { type Applicant, formatGrounds } from './enrollment-grounds.ts';
import type { JudgedRequest } from './judge-enrollment.ts';
import { readBinding } from './read-binding.ts';
import { type AcceptedCsr, requireOwnName } from './read-csr.ts';
import type { Arrival, AttemptFacts } from './record-attempt.ts';
import { proveKey } from './verify-attestation.ts';

export type FirstRequest = Arrival & {
  credentials: EnrollmentCredentials;
  /** Of the connection it came over (RFC 7030 3.5). */
  verifyBinding: VerifyBinding;
  /** The group asked for (see require-label.ts). */
  label?: string;
  /** PKCS#10, DER; with the attestation attribute when the key is in a TPM. */
  csr: Buffer;
  /** The unused nonce of this TLS session, if it asked for one. */
  nonce?: Buffer;
};

export type Admitted = { applicant: Applicant; judged: JudgedRequest };

/**
 * Who asks, for which device, with which key, and what is proved of that key.
 * @param accept reads the CSR under the policy of the group
 */
export async function admitApplicant(
  deps: AuthorizeDeps & { trustDomain: string },
  facts: AttemptFacts,
  { request, accept }: { request: FirstRequest; accept: (policy: GroupPolicy) => AcceptedCsr },
): Promise<Admitted> {
  const { steps } = facts;
  const applicant = await steps.run(
    'credentials',
    () => authorizeEnrollment(deps, request),
    ({ grounds, group }) => `${formatGrounds(grounds)}, group ${group.name}`,
  );
  const { device, group, isRegistered } = applicant;
  facts.deviceId = device.deviceId;
  const { csr, binding } = await steps.run(
    'csr',
    () => {
      const accepted = accept(group.policy);
      const isPassedOn = applicant.grounds.by === 'registrar';
      const bound = readBinding(accepted.request, request.verifyBinding, { isPassedOn });
      requireOwnName(accepted.request, device.deviceId, deps.trustDomain);
      return { csr: accepted, binding: bound };
    },
    (read) => `${read.csr.keyKind} key`,
  );
  const proof = await steps.run(
    'proof',
    () =>
      proveKey(deps, {
        device,
        group: { name: group.name, proof: group.policy.proof },
        csr,
        askedBy: formatGrounds(applicant.grounds),
        nonce: request.nonce,
      }),
    ({ level }) => level,
  );
  return { applicant, judged: { kind: 'enroll', arrival: request, binding, device, isRegistered, group, csr, proof } };
}
