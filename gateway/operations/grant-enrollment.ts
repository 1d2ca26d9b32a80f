import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { APPROVAL_RETRY_SECONDS, type EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { Admitted } from './admit-applicant.ts';
import { applyPolicy, type PolicyDeps } from './apply-policy.ts';
import { type BeginDeps, type BeginOrder, type BegunEnrollment, beginEnrollment } from './begin-enrollment.ts';
import { formatGrounds } from './enrollment-grounds.ts';
import { findBegun, findKeyInUse, requireFreeTicket } from './find-begun.ts';
import { gatherFacts, questionOf } from './judge-enrollment.ts';
import type { AcceptedCsr } from './read-csr.ts';
import type { AttemptFacts } from './record-attempt.ts';

export type GrantDeps = BeginDeps & PolicyDeps;

export type Granted =
  | { outcome: 'issue'; enrollment: Enrollment; ended: CertificateRecord[] }
  | { outcome: 'given again'; certificate: Buffer };

/**
 * Whether an admitted applicant gets a certificate: by what was begun for this key before, by the policy of the group,
 * or by the word of a person.
 * @param makeKey a key pair in place of the one of the CSR, made once nothing but the key is missing
 * @throws GatewayError of the rule that refused, APPROVAL_PENDING, APPROVAL_REFUSED, TICKET_SPENT
 */
export async function grantEnrollment(
  deps: GrantDeps,
  { steps }: AttemptFacts,
  admitted: Admitted,
  makeKey?: () => Promise<AcceptedCsr>,
): Promise<Granted> {
  const begin = ({ verdict }: Pick<BeginOrder, 'verdict'>) =>
    steps.run('key', () => beginWithKey(deps, { ...admitted, verdict }, makeKey), describeOutcome);
  const askPolicy = () => steps.run('policy', () => judge(deps, admitted), describeVerdict);

  const isKnownKey = makeKey === undefined && (await hasBegun(deps.store, admitted, deps.clock.now()));
  let begun = isKnownKey ? await begin({ verdict: undefined }) : undefined;
  if (begun === undefined || begun.outcome === 'ask policy') {
    const verdict = await askPolicy();
    begun = await begin({ verdict });
  }
  switch (begun.outcome) {
    case 'issue':
      if (begun.approved) await steps.run('approval', () => 'by a person', String);
      return begun;
    case 'given again':
      return begun;
    case 'waits':
    case 'refused': {
      const { outcome, request } = begun;
      return steps.run('approval', () => {
        throw outcome === 'waits' ? pending(request) : refused(request);
      });
    }
    case 'ask policy':
    case 'make key':
      throw new GatewayError('INTERNAL', 'what was asked for and given is to be asked for again');
  }
}

/** A key pair costs up to a second of a core, so none is made for what waits or is refused. */
async function beginWithKey(
  deps: GrantDeps,
  order: Omit<BeginOrder, 'madeHere'>,
  makeKey: (() => Promise<AcceptedCsr>) | undefined,
): Promise<BegunEnrollment> {
  if (makeKey === undefined) return beginEnrollment(deps, order);
  const begun = await beginEnrollment(deps, { ...order, madeHere: 'once granted' });
  return begun.outcome === 'make key' ? beginEnrollment(deps, { ...order, madeHere: await makeKey() }) : begun;
}

/** Looked at before policy, so that a lost answer asks no webhook and counts for no limit a second time. */
async function hasBegun({ read }: Pick<Store, 'read'>, { applicant, judged }: Admitted, now: number): Promise<boolean> {
  const { csr, proof } = judged;
  const { deviceId } = applicant.device;
  const { grounds } = applicant;
  const ticket = 'ticket' in grounds ? grounds.ticket : undefined;
  if (await findBegun(read, { deviceId, ticket, spkiSha256: csr.spkiSha256, proof })) return true;
  if (ticket === undefined) return (await findKeyInUse(read, { deviceId, csr, proof, now })) !== undefined;
  await requireFreeTicket(read, ticket, { spkiSha256: csr.spkiSha256, isMadeHere: false });
  return false;
}

async function judge(deps: GrantDeps, { applicant, judged }: Admitted): Promise<'approved' | { waits: string }> {
  const facts = await gatherFacts(deps.store.read, judged, deps.clock.now());
  const question = questionOf(judged, formatGrounds(applicant.grounds));
  return applyPolicy(deps, { policy: judged.group.policy, facts, question });
}

export function pending({ id, deviceId, reason }: EnrollmentRequest): GatewayError {
  return new GatewayError('APPROVAL_PENDING', `request ${id} waits for a person to decide: ${reason}`, {
    retryAfter: APPROVAL_RETRY_SECONDS,
    subject: { deviceId },
  });
}

export function refused({ id, deviceId, note }: EnrollmentRequest): GatewayError {
  return new GatewayError('APPROVAL_REFUSED', `request ${id} was refused by a person: ${note ?? 'no reason given'}`, {
    subject: { deviceId },
  });
}

function describeVerdict(verdict: 'approved' | { waits: string }): string {
  return verdict === 'approved' ? 'approved' : `a person has to decide: ${verdict.waits}`;
}

function describeOutcome({ outcome }: BegunEnrollment): string | null {
  return outcome === 'issue' || outcome === 'given again' ? outcome : null;
}
