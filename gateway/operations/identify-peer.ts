import { createHash } from 'node:crypto';
import { readSerialNumber } from '#ca/pkix/read-serial-number.ts';
import { isSerialNumber, type SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { GroupPolicy, ProofLevel } from '#gateway/contract/operator-api.ts';
import {
  type CertificateRecord,
  type CertificateRefusal,
  judgeCertificate,
} from '#gateway/domain/certificate-record.ts';
import { type Device, isBarred, meetsProof } from '#gateway/domain/device.ts';
import { judgeExpired, requireLaneOf } from '#gateway/domain/expired-lane.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { takeBackExpiry } from './take-back-expiry.ts';

export type IdentifyDeps = { store: Pick<Store, 'read' | 'write'>; clock: Clock };

export type PeerIdentity = {
  deviceId: DeviceId;
  device: Device;
  group: string;
  policy: GroupPolicy;
  proofLevel: ProofLevel;
  certificate: CertificateRecord;
  /** Milliseconds since its certificate ended: it may ask for the next one, and nothing else. */
  expiredFor?: number;
};

/**
 * admitsQuarantined: for a session that will be limited to what an identity needs. admitsExpired: for a request to
 * re-enroll, or a session that may do nothing else, within the grace of the group.
 */
export type IdentifyOptions = { admitsQuarantined?: boolean; admitsExpired?: boolean };

const REFUSALS = {
  CERTIFICATE_UNKNOWN: 'this certificate was not issued by this gateway; enroll the device with a ticket',
  CERTIFICATE_REVOKED: 'this certificate was revoked; an operator decides whether the device may enroll again',
  CERTIFICATE_SUPERSEDED: 'this certificate was replaced by a newer one that is already in use; connect with that one',
  CERTIFICATE_EXPIRED: 'this certificate has expired; enroll the device again with a new ticket',
  CERTIFICATE_NOT_YET_VALID: 'this certificate is not valid yet; check the clocks',
  PROFILE_NOT_A_DEVICE: 'this certificate is not a device certificate',
} as const satisfies Record<CertificateRefusal, string>;

/**
 * Who a TLS client certificate belongs to. The certificate must be, byte for byte, one of our own rows: then its
 * issuer, its profile and its name need no second look, and a foreign certificate with a copied serial is nobody.
 * The caller has seen TLS prove possession of the key.
 * @param der the client certificate as TLS showed it
 * @throws GatewayError with a CERTIFICATE_* code, PROFILE_NOT_A_DEVICE, DEVICE_UNKNOWN, DEVICE_NOT_ALLOWED or PROOF_TOO_LOW
 */
export async function identifyPeer(
  deps: IdentifyDeps,
  der: Buffer,
  { admitsQuarantined = false, admitsExpired = false }: IdentifyOptions = {},
): Promise<PeerIdentity> {
  const { certificate: known, serial } = await findOwnCertificate(deps.store, der);
  const certificate = known && (await takeBackExpiry(deps, known));
  if (certificate === undefined) {
    throw new GatewayError('CERTIFICATE_UNKNOWN', REFUSALS.CERTIFICATE_UNKNOWN, {
      subject: serial === undefined ? {} : { serial },
    });
  }
  const subject = {
    serial: certificate.serial,
    ...(certificate.deviceId === null ? {} : { deviceId: certificate.deviceId }),
  };
  const now = deps.clock.now();
  const refusal = judgeCertificate(certificate, now);
  if (refusal === 'PROFILE_NOT_A_DEVICE' && certificate.profile === 'device-bootstrap') {
    throw new GatewayError('CLAIM_ONLY_ENROLLS', 'this certificate of a claim opens a first enrollment only', {
      subject,
    });
  }
  const isExpired = refusal === 'CERTIFICATE_EXPIRED' && admitsExpired;
  if (refusal !== undefined && !isExpired) throw refuseCertificate(refusal, certificate);
  const device = certificate.deviceId === null ? undefined : await deps.store.read.devices.find(certificate.deviceId);
  if (device === undefined) throw new GatewayError('DEVICE_UNKNOWN', 'this device is not registered', { subject });
  // It keeps the certificate it has in use and gets no other.
  const isLetIn = admitsQuarantined && device.state === 'quarantined' && certificate.state === 'active';
  if (!isLetIn && isBarred(device)) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${device.state}`, { subject });
  }
  const proofLevel = certificate.proofLevel ?? 'software';
  // A certificate that was asked for before a better one came into use: using it now would be a step down.
  if (certificate.state === 'pending' && !meetsProof(proofLevel, device.proofLevel)) {
    throw new GatewayError(
      'PROOF_TOO_LOW',
      `this device has proof level ${device.proofLevel}; a new certificate with ${proofLevel} is not let in`,
      { subject },
    );
  }
  const group = await deps.store.read.groups.find(device.group);
  if (group === undefined) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `the group "${device.group}" of this device does not exist`, {
      subject,
    });
  }
  if (isExpired) await requireGrace(deps, { certificate, device, policy: group.policy }, now);
  return {
    deviceId: device.deviceId,
    device,
    group: device.group,
    policy: group.policy,
    proofLevel,
    certificate,
    ...(isExpired && { expiredFor: Math.max(0, now - certificate.notAfter) }),
  };
}

async function requireGrace(
  { store }: IdentifyDeps,
  { certificate, device, policy }: Pick<PeerIdentity, 'certificate' | 'device' | 'policy'>,
  now: number,
): Promise<void> {
  const held = await store.read.certificates.listByDevice(device.deviceId);
  const refusal = judgeExpired(certificate, held, policy, now);
  if (refusal !== undefined) throw refuseCertificate(refusal, certificate);
  requireLaneOf(device, certificate);
}

export function refuseCertificate(
  code: CertificateRefusal,
  { serial, deviceId }: Pick<CertificateRecord, 'serial' | 'deviceId'>,
): GatewayError {
  return new GatewayError(code, REFUSALS[code], { subject: { serial, ...(deviceId === null ? {} : { deviceId }) } });
}

/**
 * The row of a certificate of ours, when it is one byte for byte.
 * @returns the serial also of one that is not: then it may be a copied one
 */
export async function findOwnCertificate(
  store: Pick<Store, 'read'>,
  der: Buffer,
): Promise<{ certificate: CertificateRecord | undefined; serial: SerialNumber | undefined; isCopied: boolean }> {
  const serial = readSerial(der);
  const certificate = serial === undefined ? undefined : await store.read.certificates.find(serial);
  const isOwn = certificate?.sha256 === createHash('sha256').update(der).digest('hex');
  return { certificate: isOwn ? certificate : undefined, serial, isCopied: certificate !== undefined && !isOwn };
}

function readSerial(der: Buffer): SerialNumber | undefined {
  try {
    const serial = readSerialNumber(der);
    return isSerialNumber(serial) ? serial : undefined;
  } catch {
    // Whatever it is, we did not issue it.
    return undefined;
  }
}
