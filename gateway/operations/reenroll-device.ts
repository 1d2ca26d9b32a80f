import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { CertificateRequest } from '#ca/pkix/csr.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { meetsProof } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { acceptProof } from './accept-proof.ts';
import { activateCertificate } from './activate-certificate.ts';
import { type EnrollDeps, type Enrolled } from './enroll-device.ts';
import { identifyPeer, type PeerIdentity } from './identify-peer.ts';
import { issueRecorded, proofLevelOf } from './issue-recorded.ts';
import { type AcceptedCsr, readCsr } from './read-csr.ts';
import { type AttemptFacts, issuedOrAgain, recordAttempt } from './record-attempt.ts';
import { recordIntent } from './record-intent.ts';
import { type KeyProof, proveKey } from './verify-attestation.ts';

export type ReenrollRequest = {
  attemptId: string;
  address: string;
  /** The certificate shown in TLS, DER: the one to be renewed. */
  peer: Buffer;
  csr: Buffer;
  /** The unused nonce of this TLS session, if it asked for one. */
  nonce?: Buffer;
};

/** Unused certificates a device may hold at once; past it the device is asking in a loop with new keys. */
const MAX_PENDING = 5;

/** Certificates a device may get within an hour, or within one lifetime when that is shorter. */
const MAX_ISSUED = 20;
const HOUR_MS = 3_600_000;

/**
 * Renewal (RFC 7030 4.2.2) with the current certificate: the same name, usually a new key. Policy is evaluated again.
 * The same key asked again while its certificate is unused gets the same certificate.
 * @throws GatewayError with the code of the step that refused
 */
export async function reenrollDevice(deps: EnrollDeps, request: ReenrollRequest): Promise<Enrolled> {
  const facts: AttemptFacts = {
    attemptId: request.attemptId,
    address: request.address,
    kind: 'reenroll',
    deviceId: undefined,
  };
  const renewed = async (): Promise<Enrolled> => {
    const identity = await identifyPeer(deps, request.peer);
    facts.deviceId = identity.deviceId;
    const csr = readCsr(request.csr, identity.policy);
    requireSameName(csr.request, identity.certificate);
    const proof = await proveKey(deps, {
      device: identity.device,
      group: { name: identity.group, proof: identity.policy.proof },
      csr,
      askedBy: `certificate:${identity.certificate.serial}`,
      nonce: request.nonce,
    });
    if (identity.certificate.state === 'pending') {
      await activateCertificate(deps, identity.certificate.serial, identity.policy.overlapSeconds);
    }
    const { enrollment, again } = await beginRenewal(deps, request, identity, { csr, proof });
    if (again !== undefined) return { certificate: again, givenAgain: true };
    const certificate = await issueRecorded(deps, enrollment, identity.policy.pendingLapseSeconds);
    return { certificate: certificate.der, givenAgain: false };
  };
  return recordAttempt(deps, facts, renewed, issuedOrAgain);
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
  request: ReenrollRequest,
  identity: PeerIdentity,
  { csr, proof }: { csr: AcceptedCsr; proof: KeyProof },
): Promise<{ enrollment: Enrollment; again: Buffer | undefined }> {
  const { deviceId, policy, certificate } = identity;
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    for (const enrollment of await tables.enrollments.listByKey(deviceId, csr.spkiSha256)) {
      if (enrollment.kind !== 'reenroll' || enrollment.state === 'abandoned' || enrollment.state === 'confirmed')
        continue;
      const begun = await tables.certificates.find(enrollment.serial);
      // What was begun with less than is proved now is left to lapse.
      if ((begun !== undefined && begun.state !== 'pending') || !meetsProof(proofLevelOf(enrollment), proof.level))
        continue;
      await acceptProof(tables, { proof, begun: enrollment, device: identity.device, now });
      return { enrollment, again: begun?.der };
    }
    const device = await tables.devices.find(deviceId);
    const held = await tables.certificates.listByDevice(deviceId);
    // Read again inside: a revocation may have been committed since the certificate was looked at.
    const current = held.find((candidate) => candidate.serial === certificate.serial);
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
        { subject: { deviceId, serial: certificate.serial } },
      );
    }
    requireBudget(held, policy.lifetimeSeconds, deviceId, now);
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
    await acceptProof(tables, { proof, begun: undefined, device, now });
    const enrollment = await recordIntent(tables, deps.random, {
      kind: 'reenroll',
      attemptId: request.attemptId,
      address: request.address,
      actor: `device:${deviceId}`,
      device,
      csr,
      proof,
      replacesSerial: certificate.serial,
      lifetimeSeconds: policy.lifetimeSeconds,
      now,
    });
    return { enrollment, again: undefined };
  });
}

/** A device that renews in a loop fills database, journal and CRL at its own pace; one that works needs far less. */
function requireBudget(
  held: readonly CertificateRecord[],
  lifetimeSeconds: number,
  deviceId: DeviceId,
  now: number,
): void {
  const window = Math.min(HOUR_MS, lifetimeSeconds * 1000);
  const recent = held.filter(({ issuedAt }) => issuedAt > now - window);
  if (recent.length < MAX_ISSUED) return;
  const oldest = Math.min(...recent.map(({ issuedAt }) => issuedAt));
  throw new GatewayError('RATE_LIMITED', 'this device has renewed too often; look at its clock and its renewal rule', {
    retryAfter: Math.max(1, Math.ceil((oldest + window - now) / 1000)),
    subject: { deviceId },
  });
}
