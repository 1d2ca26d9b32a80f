import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { meetsProof } from '#gateway/domain/device.ts';
import {
  type EnrollmentRequest,
  MAX_WAITING_REQUESTS,
  MAX_WAITING_REQUESTS_OF_DEVICE,
  MAX_WAITING_REQUESTS_OF_GROUP,
  REQUEST_LIFE_MS,
} from '#gateway/domain/enrollment-request.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';
import type { JudgedRequest } from './judge-enrollment.ts';

/** One that is asked again sooner than this is not written again, milliseconds. */
const TOUCH_AFTER_MS = 10_000;
const FULL_RETRY_SECONDS = 300;

/** What a person has said about this device and key, if somebody has and it still counts. */
export function decisionOf(request: EnrollmentRequest | undefined, now: number): 'approved' | 'refused' | undefined {
  if (request === undefined || request.expiresAt <= now) return undefined;
  return request.state === 'approved' || request.state === 'refused' ? request.state : undefined;
}

/** As a person reads it. Of a key that is to be made here the CSR proves nothing. */
function describeKey(keyKind: string, isMadeHere: boolean): string {
  return isMadeHere ? `${keyKind} made here` : keyKind;
}

/**
 * @throws GatewayError PROOF_TOO_LOW: it was approved for a key that is proved better than this one; KEY_NOT_ALLOWED: it
 * was approved for a key of the device, not for one made here in its place, or the other way round
 */
export function requireApprovedKey(
  request: EnrollmentRequest,
  { proof, device }: JudgedRequest,
  isMadeHere: boolean,
): void {
  const subject = { deviceId: device.deviceId };
  if (request.keyKind.endsWith(describeKey('', true)) !== isMadeHere) {
    throw new GatewayError('KEY_NOT_ALLOWED', `this was approved for: ${request.keyKind} key`, { subject });
  }
  if (meetsProof(proof.level, request.proofLevel)) return;
  throw new GatewayError('PROOF_TOO_LOW', `this was approved for a key proved at level ${request.proofLevel}`, {
    subject,
  });
}

/**
 * Whether the device has enrolled with another key since a person decided: who approved this one could not know that it
 * would displace that other. A renewal is not meant: it goes on with what the person saw.
 */
export async function hasNewcomerSince(
  tables: Pick<Tables, 'certificates' | 'enrollments'>,
  { deviceId, spkiSha256, decidedAt }: EnrollmentRequest,
): Promise<boolean> {
  for (const certificate of await tables.certificates.listByDevice(deviceId)) {
    const { activatedAt, enrollmentId } = certificate;
    if (activatedAt === null || activatedAt <= (decidedAt ?? 0) || enrollmentId === null) continue;
    if (certificate.spkiSha256 === spkiSha256) continue;
    const enrollment = await tables.enrollments.find(enrollmentId);
    if (enrollment?.kind === 'enroll' && enrollment.serverKeyFor !== spkiSha256) return true;
  }
  return false;
}

/**
 * The request waits for a person: a new row of the queue, or the one that it has already. Inside the caller's
 * transaction, which commits although nothing is issued.
 * @param known the newest of this device and key @param why a person has to decide
 * @throws GatewayError APPROVAL_QUEUE_FULL
 */
export async function enqueue(
  tables: Tables,
  judged: JudgedRequest,
  {
    known,
    why,
    grounds,
    id,
    isMadeHere,
    now,
  }: {
    known: EnrollmentRequest | undefined;
    why: string;
    grounds: string;
    id: string;
    isMadeHere: boolean;
    now: number;
  },
): Promise<EnrollmentRequest> {
  const { arrival, device, group, csr, proof } = judged;
  if (known?.state === 'waiting' && known.expiresAt > now) return touch(tables, known, arrival.address, now);
  // Over, but not swept yet: it makes room for the new one.
  if (known?.state === 'waiting' || known?.state === 'approved')
    await tables.enrollmentRequests.update(known.id, { state: 'expired' });
  await requireRoom(tables, judged);
  const request: EnrollmentRequest = {
    id,
    deviceId: device.deviceId,
    group: group.name,
    grounds,
    door: arrival.door,
    address: arrival.address,
    keyKind: describeKey(csr.keyKind, isMadeHere),
    spkiSha256: csr.spkiSha256,
    proofLevel: proof.level,
    hardwareSerial: device.hardwareSerial,
    reason: why,
    state: 'waiting',
    askedAt: now,
    lastAskedAt: now,
    timesAsked: 1,
    expiresAt: now + REQUEST_LIFE_MS,
    decidedAt: null,
    decidedBy: null,
    note: null,
  };
  await tables.enrollmentRequests.insert(request);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor: grounds,
      action: 'enrollment.waiting',
      subject: device.deviceId,
      attemptId: arrival.attemptId,
      code: 'APPROVAL_PENDING',
      detail: `${why}; ${request.keyKind} key ${csr.spkiSha256} from ${arrival.address}, proof ${proof.level}`,
    }),
  );
  return request;
}

/** It polls: seldom enough on the record that a fleet that waits does not keep the disk busy. */
async function touch(
  tables: Tables,
  known: EnrollmentRequest,
  address: string,
  now: number,
): Promise<EnrollmentRequest> {
  if (address === known.address && now - known.lastAskedAt < TOUCH_AFTER_MS) return known;
  const change = { lastAskedAt: now, timesAsked: known.timesAsked + 1, address };
  await tables.enrollmentRequests.update(known.id, change);
  return { ...known, ...change };
}

/** Bounded in all, for each group, and for each device: one that makes new keys in a loop must not fill it for others. */
async function requireRoom({ enrollmentRequests }: Tables, { device, group }: JudgedRequest): Promise<void> {
  const own = await enrollmentRequests.listOpenByDevice(device.deviceId);
  const isFull =
    own.length >= MAX_WAITING_REQUESTS_OF_DEVICE ||
    (await enrollmentRequests.countWaiting(group.name)) >= MAX_WAITING_REQUESTS_OF_GROUP ||
    (await enrollmentRequests.countWaiting()) >= MAX_WAITING_REQUESTS;
  if (!isFull) return;
  throw new GatewayError('APPROVAL_QUEUE_FULL', 'too many requests wait for a person to decide', {
    retryAfter: FULL_RETRY_SECONDS,
    subject: { deviceId: device.deviceId },
  });
}
