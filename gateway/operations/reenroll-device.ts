import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { CertificateRequest } from '#ca/pkix/csr.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { CsrBinding, VerifyBinding } from '#gateway/domain/channel-binding.ts';
import { type Device, meetsProof } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { acceptProof } from './accept-proof.ts';
import { activateCertificate } from './activate-certificate.ts';
import { applyPolicy } from './apply-policy.ts';
import { type EnrollDeps, type Enrolled } from './enroll-device.ts';
import { requireUncompromised } from './find-begun.ts';
import { identifyPeer, type PeerIdentity, refuseCertificate } from './identify-peer.ts';
import { requireBudget } from './issuance-budget.ts';
import { issueRecorded, proofLevelOf } from './issue-recorded.ts';
import { gatherFacts, type JudgedRequest, questionOf } from './judge-enrollment.ts';
import { readBinding } from './read-binding.ts';
import { type AcceptedCsr, readCsr } from './read-csr.ts';
import { type Arrival, type AttemptFacts, issuedOrAgain, recordAttempt } from './record-attempt.ts';
import { recordIntent } from './record-intent.ts';
import { decideLane, judgeExpiredRenewal, requireLane } from './reenroll-expired.ts';
import { suggestedWindow } from './renewal-planner.ts';
import { requireOwnLabel } from './require-label.ts';
import { type KeyProof, proveKey } from './verify-attestation.ts';

export type ReenrollRequest = Arrival & {
  /** The certificate shown in TLS, DER: the one to be renewed. */
  peer: Buffer;
  /** Of the connection it came over (RFC 7030 3.5). */
  verifyBinding: VerifyBinding;
  /** The group asked for (see require-label.ts). */
  label?: string;
  csr: Buffer;
  /** The unused nonce of this TLS session, if it asked for one. */
  nonce?: Buffer;
};

/** Unused certificates a device may hold at once; past it the device is asking in a loop with new keys. */
const MAX_PENDING = 5;

/**
 * Renewal (RFC 7030 4.2.2) with the current certificate: the same name, usually a new key. Policy is evaluated again.
 * The same key asked again while its certificate is unused gets the same certificate. Within the grace of its group a
 * certificate that has expired will do: by its score at once, by a person's word, or not at all.
 * @throws GatewayError with the code of the step that refused
 */
export async function reenrollDevice(deps: EnrollDeps, request: ReenrollRequest): Promise<Enrolled> {
  const renewed = async (facts: AttemptFacts): Promise<Enrolled> => {
    const { steps } = facts;
    const identity = await steps.run('credentials', () => identifyRenewal(deps, request), describeIdentity);
    const { device, deviceId, policy, certificate } = identity;
    facts.deviceId = deviceId;
    facts.serial = certificate.serial;
    const { csr, binding } = await steps.run('csr', () => {
      const accepted = readCsr(request.csr, policy);
      const bound = readBinding(accepted.request, request.verifyBinding, { isPassedOn: false });
      requireSameName(accepted.request, certificate);
      return { csr: accepted, binding: bound };
    });
    const group = { name: identity.group, proof: policy.proof };
    const askedBy = `certificate:${certificate.serial}`;
    const proof = await steps.run(
      'proof',
      () => proveKey(deps, { device, group, csr, askedBy, nonce: request.nonce }),
      ({ level }) => level,
    );
    const judged = judgedRequest(request, identity, { csr, binding, proof });
    const lane = await steps.run('policy', () => requirePolicy(deps, judged, identity), describeLane);
    if (certificate.state === 'pending') await activateCertificate(deps, certificate.serial, policy.overlapSeconds);
    const begun = await steps.run('key', () => beginRenewal(deps, judged, identity, lane));
    if ('undecided' in begun) {
      return steps.run('approval', () => {
        throw begun.undecided;
      });
    }
    const { enrollment, again } = begun;
    if (enrollment.requestId !== null) await steps.run('approval', () => 'by a person', String);
    if (again !== undefined) return { certificate: again, givenAgain: true };
    const issue = () => issueRecorded(deps, enrollment, policy.pendingLapseSeconds);
    const issued = await steps.run('certificate', issue, ({ serial }) => `serial ${serial}`);
    return { certificate: issued.der, givenAgain: false, ...suggestedWindow(issued) };
  };
  return recordAttempt(deps, { ...request, kind: 'reenroll' }, renewed, issuedOrAgain);
}

async function identifyRenewal(deps: EnrollDeps, { peer, label }: ReenrollRequest): Promise<PeerIdentity> {
  const identity = await identifyPeer(deps, peer, { admitsExpired: true });
  await requireOwnLabel(deps.store.read, identity, label);
  return identity;
}

function describeIdentity({ certificate, group, expiredFor }: PeerIdentity): string {
  return `certificate:${certificate.serial}${expiredFor === undefined ? '' : ', expired'}, group ${group}`;
}

function judgedRequest(
  request: ReenrollRequest,
  { device, group, policy }: PeerIdentity,
  { csr, binding, proof }: { csr: AcceptedCsr; binding: CsrBinding; proof: KeyProof },
): JudgedRequest {
  return {
    kind: 'reenroll',
    arrival: request,
    binding,
    device,
    isRegistered: true,
    group: { name: group, version: 0, policy, updatedAt: 0 },
    csr,
    proof,
  };
}

/** Of one whose certificate has expired. waits: why a person has to decide, when one has to. */
type Lane = { detail: string; waits: string | undefined };

function describeLane(lane: Lane | undefined): string | null {
  return lane?.detail ?? null;
}

/** Evaluated at every renewal; an answer that was lost asks nobody a second time. */
async function requirePolicy(
  deps: EnrollDeps,
  judged: JudgedRequest,
  identity: PeerIdentity,
): Promise<Lane | undefined> {
  const { policy, certificate } = identity;
  const { read } = deps.store;
  const mayBeAgain = policy.webhook !== null || identity.expiredFor !== undefined;
  const isAgain = mayBeAgain && (await findBegunRenewal(read, identity, judged)) !== undefined;
  const expired = isAgain ? undefined : await judgeExpiredRenewal(read, identity, judged);
  const facts = await gatherFacts(read, judged, deps.clock.now());
  const question = questionOf(judged, groundsOf(identity));
  const verdict = await applyPolicy(deps, {
    policy: isAgain ? { ...policy, webhook: null } : policy,
    facts,
    question,
    mayWait: expired !== undefined,
  });
  if (expired === undefined) return undefined;
  const said = verdict === 'approved' ? undefined : verdict.waits;
  const waits = expired.outcome === 'approval' || said !== undefined;
  const detail = said === undefined ? expired.detail : `${expired.detail}; ${said}`;
  return { detail, waits: waits ? `${detail}; serial ${certificate.serial}` : undefined };
}

function groundsOf({ certificate, expiredFor }: PeerIdentity): string {
  return `${expiredFor === undefined ? 'certificate' : 'expired'}:${certificate.serial}`;
}

type Begun = { enrollment: Enrollment; again: Buffer | undefined };

/** undecided: a person has to decide, or has refused. */
type BegunOrUndecided = Begun | { undecided: GatewayError };

/** The same key asked again while its certificate is on its way or unused. */
async function findBegunRenewal(
  read: Pick<Tables, 'enrollments' | 'certificates'>,
  { deviceId }: PeerIdentity,
  { csr, proof }: { csr: AcceptedCsr; proof: KeyProof },
): Promise<Begun | undefined> {
  for (const enrollment of await read.enrollments.listByKey(deviceId, csr.spkiSha256)) {
    if (enrollment.kind !== 'reenroll' || enrollment.state === 'abandoned' || enrollment.state === 'confirmed')
      continue;
    const begun = await read.certificates.find(enrollment.serial);
    // What was begun with less than is proved now is left to lapse.
    if ((begun !== undefined && begun.state !== 'pending') || !meetsProof(proofLevelOf(enrollment), proof.level))
      continue;
    return { enrollment, again: begun?.der };
  }
  return undefined;
}

/** RFC 7030 4.2.2: subject and subjectAltName equal those of the certificate being renewed, as DER. */
function requireSameName(csr: CertificateRequest, certificate: CertificateRecord): void {
  const current = parseCertificate(certificate.der);
  if (!csr.subject.equals(current.subject)) {
    throw new GatewayError(
      'IDENTITY_MISMATCH',
      'the subject of the CSR is not the subject of the current certificate (RFC 7030 4.2.2); copy it unchanged',
    );
  }
  if (current.subjectAltName !== undefined && csr.subjectAltName?.equals(current.subjectAltName) !== true) {
    throw new GatewayError(
      'IDENTITY_MISMATCH',
      'the subjectAltName of the CSR is not the one of the current certificate (RFC 7030 4.2.2); copy it unchanged',
    );
  }
}

async function beginRenewal(
  deps: EnrollDeps,
  judged: JudgedRequest,
  identity: PeerIdentity,
  lane: Lane | undefined,
): Promise<BegunOrUndecided> {
  const { deviceId, policy, certificate } = identity;
  const { csr, proof, arrival } = judged;
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    await requireUncompromised(tables, { deviceId, spkiSha256: csr.spkiSha256 });
    const begun = await findBegunRenewal(tables, identity, { csr, proof });
    if (begun !== undefined) {
      await acceptProof(tables, { proof, begun: begun.enrollment, device: identity.device, now });
      return begun;
    }
    const { device, held } =
      identity.expiredFor === undefined
        ? await requireCurrent(tables, identity)
        : await requireLane(tables, identity, now);
    await requireBudget(tables, { deviceId, lifetimeSeconds: policy.lifetimeSeconds, now });
    if (held.filter((candidate) => candidate.state === 'pending').length >= MAX_PENDING) {
      throw new GatewayError(
        'RATE_LIMITED',
        'this device holds too many certificates it has not used; use the newest, or wait until they lapse',
        {
          retryAfter: Math.min(policy.pendingLapseSeconds, 3600),
          subject: { deviceId },
        },
      );
    }
    // What was begun for it has lapsed between policy and here.
    if (identity.expiredFor !== undefined && lane === undefined)
      throw refuseCertificate('CERTIFICATE_EXPIRED', certificate);
    const decided = lane && (await decideLane(tables, judged, { why: lane.waits, grounds: groundsOf(identity), now }));
    if (decided?.undecided !== undefined) return { undecided: decided.undecided };
    await acceptProof(tables, { proof, begun: undefined, device, now });
    const enrollment = await recordIntent(tables, deps.random, {
      kind: 'reenroll',
      ...(lane && { lane: { detail: lane.detail, requestId: decided?.request?.id ?? null } }),
      arrival,
      actor: `device:${deviceId}`,
      device,
      csr,
      proof,
      replacesSerial: certificate.serial,
      lifetimeSeconds: policy.lifetimeSeconds,
      noRevAvailBelowSeconds: policy.noRevAvailBelowSeconds,
      now,
    });
    return { enrollment, again: undefined };
  });
}

/** Read again inside: a revocation may have been committed since the certificate was looked at. */
async function requireCurrent(
  tables: Tables,
  { deviceId, certificate: { serial } }: PeerIdentity,
): Promise<{ device: Device; held: CertificateRecord[] }> {
  const device = await tables.devices.find(deviceId);
  const held = await tables.certificates.listStanding(deviceId);
  const current = await tables.certificates.find(serial);
  if (current?.state === 'revoked' || device === undefined) {
    throw new GatewayError('CERTIFICATE_REVOKED', 'this certificate was revoked a moment ago', {
      subject: { deviceId },
    });
  }
  // Its successor is in use: whoever still has this one is not the one to go on from here.
  if (current?.state !== 'active' || current.supersedeAt !== null) {
    throw new GatewayError(
      'CERTIFICATE_SUPERSEDED',
      'this certificate has a successor that is in use; renew with that one',
      { subject: { deviceId, serial } },
    );
  }
  return { device, held };
}
