import type { SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import { admitApplicant, type FirstRequest } from './admit-applicant.ts';
import type { PolicyDeps } from './apply-policy.ts';
import { grantEnrollment } from './grant-enrollment.ts';
import { type IssueDeps, issueRecorded } from './issue-recorded.ts';
import { readCsr } from './read-csr.ts';
import { type AttemptDeps, type AttemptFacts, issuedOrAgain, recordAttempt } from './record-attempt.ts';
import { suggestedWindow } from './renewal-planner.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type EnrollDeps = AttemptDeps & ShutOutDeps & PolicyDeps & IssueDeps & { trustDomain: string };

export type EnrollRequest = FirstRequest;

/** `window`: when it is to be renewed; left out when it was given before. */
export type Enrolled = { certificate: Buffer; givenAgain: boolean; window?: SuggestedWindow };

/**
 * First enrollment: with a one-time ticket, a claim made of one, the certificate of the device's maker, or by a
 * registrar. The same key asked again gets the same certificate until that certificate has been used; any other key
 * finds the ticket spent, or waits for a person.
 * @throws GatewayError with the code of the step that refused; APPROVAL_PENDING while a person has to decide
 */
export async function enrollDevice(deps: EnrollDeps, request: EnrollRequest): Promise<Enrolled> {
  const enrolled = async (facts: AttemptFacts): Promise<Enrolled> => {
    const admitted = await admitApplicant(deps, facts, { request, accept: (policy) => readCsr(request.csr, policy) });
    const granted = await grantEnrollment(deps, facts, admitted);
    if (granted.outcome === 'given again') return { certificate: granted.certificate, givenAgain: true };
    await shutOut(deps, granted.ended, 'asked for again');
    const { pendingLapseSeconds } = admitted.applicant.group.policy;
    const issue = () => issueRecorded(deps, granted.enrollment, pendingLapseSeconds);
    const issued = await facts.steps.run('certificate', issue, ({ serial }) => `serial ${serial}`);
    return { certificate: issued.der, givenAgain: false, ...suggestedWindow(issued) };
  };
  return recordAttempt(deps, { ...request, kind: 'enroll' }, enrolled, issuedOrAgain);
}
