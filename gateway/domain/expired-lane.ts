import type { GraceDecision, GroupPolicy, ProofLevel } from '#gateway/contract/operator-api.ts';
import type { CertificateRecord, CertificateRefusal } from './certificate-record.ts';
import type { Device } from './device.ts';
import { GatewayError } from './gateway-error.ts';
import { networkOf } from './network-of.ts';
import type { SessionRecord } from './session-record.ts';

/**
 * The one thing that a certificate which has expired may still do, within the grace of its group: ask for the next one,
 * over EST or in an MQTT session that opens nothing else.
 */

export type LaneRefusal = Extract<
  CertificateRefusal,
  'CERTIFICATE_EXPIRED' | 'CERTIFICATE_NOT_YET_VALID' | 'CERTIFICATE_SUPERSEDED' | 'CERTIFICATE_REVOKED'
>;

type Expired = Pick<
  CertificateRecord,
  'serial' | 'state' | 'notBefore' | 'notAfter' | 'issuedAt' | 'activatedAt' | 'supersedeAt'
>;

/**
 * Whether this certificate may come by the lane. Only the last one that its device has used: whoever still has an older
 * one is not the one to go on from here, also when the newer one has ended since.
 * @param held all certificates of the device @param now milliseconds UTC
 */
export function judgeExpired(
  certificate: Expired,
  held: readonly Expired[],
  { graceSeconds }: Pick<GroupPolicy, 'graceSeconds'>,
  now: number,
): LaneRefusal | undefined {
  const { serial, state, notBefore, notAfter, issuedAt, activatedAt, supersedeAt } = certificate;
  if (state === 'revoked') return 'CERTIFICATE_REVOKED';
  // However long the grace: it is about the end of the period, never about its start.
  if (now < notBefore) return 'CERTIFICATE_NOT_YET_VALID';
  // Of two renewals of one certificate the one issued later may have been used first, and replaced by the other.
  const isInForce = (other: Expired) => other.activatedAt !== null && other.supersedeAt === null;
  const hasSuccessor = held.some((other) => other.serial !== serial && isInForce(other) && other.issuedAt >= issuedAt);
  if (state === 'superseded' || supersedeAt !== null || hasSuccessor) return 'CERTIFICATE_SUPERSEDED';
  // One that was never used proves nothing of the device; and past the grace it is over.
  const isOver = now >= notAfter + graceSeconds * 1000 || graceSeconds === 0;
  return activatedAt === null || isOver ? 'CERTIFICATE_EXPIRED' : undefined;
}

/** @throws GatewayError DEVICE_NOT_ALLOWED: a device that is quarantined, held, revoked, retired or begins anew has no lane */
export function requireLaneOf(
  { deviceId, state }: Pick<Device, 'deviceId' | 'state'>,
  { serial }: Pick<CertificateRecord, 'serial'>,
): void {
  if (state === 'enrolled') return;
  throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${state} and its certificate has expired`, {
    subject: { deviceId, serial },
  });
}

export type LaneFacts = {
  /** Milliseconds. */
  expiredFor: number;
  address: string;
  /** Where its last sessions were. */
  sessions: SessionRecord | undefined;
  /** Of the key that asks now. */
  proofLevel: ProofLevel;
};

export type LaneVerdict = {
  outcome: 'automatic' | 'approval' | 'refused';
  /** 0 to 100: how much there is to doubt. */
  score: number;
  /** The score and what it is made of, in words, for audit and queue. */
  detail: string;
};

/** Half of the doubt there can be is for a person, nearly all of it for nobody. */
const ASK_FROM = 50;
const REFUSE_FROM = 90;

const NETWORK_POINTS = { 'known network': 0, 'no network known': 20, 'another network': 30 } as const;
const PROOF_POINTS = { 'tpm-endorsed': 0, tpm: 10, software: 25 } as const satisfies Record<ProofLevel, number>;
/** At the very end of the grace. */
const AGE_POINTS = 40;

/** What happens to such a request: what the group says at best, and less when there is more to doubt. */
export function judgeLane(
  { graceSeconds, graceDecision }: Pick<GroupPolicy, 'graceSeconds' | 'graceDecision'>,
  { expiredFor, address, sessions, proofLevel }: LaneFacts,
): LaneVerdict {
  const share = graceSeconds === 0 ? 1 : Math.min(1, Math.max(0, expiredFor) / (graceSeconds * 1000));
  const network = networkWord(address, sessions);
  const score = Math.round(AGE_POINTS * share) + NETWORK_POINTS[network] + PROOF_POINTS[proofLevel];
  const since = `${Math.round(Math.max(0, expiredFor) / 1000)} s of ${graceSeconds} s`;
  const detail = `expired lane, score ${score}: expired for ${since}, ${network}, proof ${proofLevel}`;
  return { outcome: outcomeOf(graceDecision, score), score, detail };
}

function outcomeOf(decision: GraceDecision, score: number): LaneVerdict['outcome'] {
  if (decision === 'refuse' || score >= REFUSE_FROM) return 'refused';
  return decision === 'approval' || score >= ASK_FROM ? 'approval' : 'automatic';
}

function networkWord(address: string, sessions: SessionRecord | undefined): keyof typeof NETWORK_POINTS {
  const known = [sessions?.current, sessions?.last].flatMap((session) => (session ? [session.address] : []));
  if (known.length === 0) return 'no network known';
  return known.some((other) => networkOf(other) === networkOf(address)) ? 'known network' : 'another network';
}
