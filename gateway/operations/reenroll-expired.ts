import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import { judgeExpired, judgeLane, type LaneVerdict, requireLaneOf } from '#gateway/domain/expired-lane.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';
import { pending, refused } from './grant-enrollment.ts';
import { type PeerIdentity, refuseCertificate } from './identify-peer.ts';
import type { JudgedRequest } from './judge-enrollment.ts';
import { decisionOf, enqueue, requireApprovedKey } from './queue-request.ts';

/**
 * What happens to a renewal whose certificate has expired, key and proof verified.
 * @returns undefined when it has not expired @throws GatewayError CERTIFICATE_EXPIRED when the group refuses it
 */
export async function judgeExpiredRenewal(
  read: Pick<Tables, 'sessions'>,
  { deviceId, policy, certificate, expiredFor }: PeerIdentity,
  { arrival, proof }: Pick<JudgedRequest, 'arrival' | 'proof'>,
): Promise<LaneVerdict | undefined> {
  if (expiredFor === undefined) return undefined;
  const sessions = await read.sessions.find(deviceId);
  const verdict = judgeLane(policy, { expiredFor, address: arrival.address, sessions, proofLevel: proof.level });
  if (verdict.outcome !== 'refused') return verdict;
  throw new GatewayError('CERTIFICATE_EXPIRED', `${verdict.detail}; refused: enroll the device again by a new ticket`, {
    subject: { deviceId, serial: certificate.serial },
  });
}

/** As they stand now, inside the transaction: a revocation or a successor may have come in between. @throws GatewayError */
export async function requireLane(
  tables: Tables,
  { deviceId, certificate, policy }: PeerIdentity,
  now: number,
): Promise<{ device: Device; held: CertificateRecord[] }> {
  const device = await tables.devices.find(deviceId);
  const held = await tables.certificates.listByDevice(deviceId);
  const current = held.find(({ serial }) => serial === certificate.serial);
  if (device === undefined || current === undefined) throw refuseCertificate('CERTIFICATE_UNKNOWN', certificate);
  requireLaneOf(device, certificate);
  const refusal = judgeExpired(current, held, policy, now);
  if (refusal !== undefined) throw refuseCertificate(refusal, certificate);
  return { device, held };
}

/** `request`: approved by a person. `undecided` is to be thrown after the commit, since the request is to stay. */
export type LaneDecision = { request: EnrollmentRequest | undefined; undecided: GatewayError | undefined };

/** Inside the transaction: the word of a person, where one is needed; a request that waits for it is in the queue then. */
export async function decideLane(
  tables: Tables,
  judged: JudgedRequest,
  { why, grounds, now }: { why: string | undefined; grounds: string; now: number },
): Promise<LaneDecision> {
  const known = await tables.enrollmentRequests.findNewest(judged.device.deviceId, judged.csr.spkiSha256);
  const decision = decisionOf(known, now);
  if (decision === 'refused' && known !== undefined) return { request: undefined, undecided: refused(known) };
  if (decision === 'approved' && known !== undefined) {
    requireApprovedKey(known, judged, false);
    await tables.enrollmentRequests.update(known.id, { state: 'used' });
    return { request: known, undecided: undefined };
  }
  if (why === undefined) return { request: undefined, undecided: undefined };
  const { attemptId } = judged.arrival;
  const isTaken = (await tables.enrollmentRequests.find(attemptId)) !== undefined;
  if (isTaken && known?.state !== 'waiting') {
    throw new GatewayError('REQUEST_INVALID', 'this attempt id stands for another request; use a new one');
  }
  const request = await enqueue(tables, judged, { known, why, grounds, id: attemptId, isMadeHere: false, now });
  return { request: undefined, undecided: pending(request) };
}
