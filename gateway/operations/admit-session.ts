import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import { GatewayError, type RefusalSubject } from '#gateway/domain/gateway-error.ts';
import { type ActivateDeps, activateCertificate } from './activate-certificate.ts';
import { identifyPeer, type PeerIdentity } from './identify-peer.ts';
import { identifyNewcomer } from './identify-requester.ts';
import { forgetEndedQuarantine, type QuarantineDeps } from './quarantine-device.ts';

export type AdmitDeps = ActivateDeps & Pick<QuarantineDeps, 'quarantined'>;

export type SessionRequest = {
  /** The client certificate TLS verified, DER. */
  der: Buffer;
  /** What stands above it, DER. Asked for only when the certificate is not one of a device of ours. */
  chain: () => Buffer[];
  /** TLS has found that it has ended: it opens the expired lane or nothing, whatever the clock says by now. */
  hasExpired: boolean;
  clientId: string;
  /** Seconds, as the client asked. */
  keepalive: number;
  willTopic?: string;
  address: string;
};

export type SessionGrant = DeviceGrant | EnrollmentGrant;

/** A device with its own certificate. */
export type DeviceGrant = {
  kind: 'device';
  deviceId: DeviceId;
  group: string;
  serial: SerialNumber;
  notAfter: number;
  readFrom: string[];
  proofLevel: ProofLevel;
  /** Lowest proof level for telemetry; left out: any. */
  publishProof?: ProofLevel;
};

/** Somebody who may ask for the certificate of this device, and nothing else. */
export type EnrollmentGrant = {
  kind: 'enrollment';
  deviceId: DeviceId;
  /** When what it came with ends; of what has ended already, when the grace of its group does. */
  notAfter: number;
  /** What it came with, DER: each request is judged by it anew. */
  peer: Buffer;
  chain: Buffer[];
} & (
  | {
      /** `expired`: the device's own certificate, within the grace of its group. It asks for the next one. */
      grounds: 'claim' | 'expired';
      serial: SerialNumber;
    }
  /** serial: as the maker numbered it; it is not one of ours and says nothing here. */
  | { grounds: 'manufacturer'; serial: string }
);

/** A connection that is never pinged is never noticed to be dead; a longer interval hides a dead device too long. */
export const MAX_KEEPALIVE_SECONDS = 1200;

/**
 * Decides an MQTT CONNECT, by the record and the clock of this moment, whatever TLS made of the dates. A pending
 * certificate is made the active one, committed before this resolves, so that CONNACK 0 means "the gateway has seen it work".
 * @throws GatewayError with the code that goes into the log and the audit
 */
export async function admitSession(deps: AdmitDeps, request: SessionRequest): Promise<SessionGrant> {
  const requester = await identify(deps, request);
  const isInLane = requester.kind === 'device' && requester.identity.expiredFor !== undefined;
  // The clock may have been set back since TLS looked at it.
  if (request.hasExpired && !isInLane) {
    const subject = requester.kind === 'device' ? subjectOf(requester.identity) : {};
    throw new GatewayError('CERTIFICATE_EXPIRED', 'this certificate has expired', { subject });
  }
  switch (requester.kind) {
    case 'device':
      return isInLane
        ? admitExpired(request, requester.identity)
        : await admitDevice(deps, request, requester.identity);
    case 'claim': {
      const { certificate, device } = requester;
      const { serial, notAfter } = certificate;
      return admitEnrollment(request, { deviceId: device.deviceId, notAfter, grounds: 'claim', serial });
    }
    case 'manufacturer': {
      const { deviceId, notAfter } = requester;
      const { serial } = parseCertificate(request.der);
      return admitEnrollment(request, { deviceId, notAfter, grounds: 'manufacturer', serial });
    }
    case 'registrar':
      throw new GatewayError('REGISTRAR_NOT_ALLOWED', 'registrars enroll over EST; this door is for devices', {
        subject: { serial: requester.certificate.serial },
      });
  }
}

/** Nearly all who come are devices with their own certificate: the way to them is the short one. */
async function identify(
  deps: AdmitDeps,
  { der, chain, clientId }: SessionRequest,
): Promise<Awaited<ReturnType<typeof identifyNewcomer>>> {
  const options = { admitsQuarantined: true, admitsExpired: true };
  try {
    return { kind: 'device', identity: await identifyPeer(deps, der, options) };
  } catch (notOwn) {
    if (!(notOwn instanceof GatewayError)) throw notOwn;
    return identifyNewcomer(deps, { der, chain: chain(), deviceId: clientId }, options).catch((error: unknown) => {
      // Of our own CA, but not in our books: the first refusal says it better.
      throw error instanceof GatewayError && error.code === 'MANUFACTURER_UNTRUSTED' ? notOwn : error;
    });
  }
}

async function admitDevice(deps: AdmitDeps, request: SessionRequest, identity: PeerIdentity): Promise<DeviceGrant> {
  const { deviceId, certificate } = identity;
  const subject = subjectOf(identity);
  requireConnect(request, deviceId, { subject, mayLeaveWill: true });
  if (certificate.state === 'pending') {
    await activateCertificate(deps, certificate.serial, identity.policy.overlapSeconds);
  }
  // Another process may have put it there: the session is limited from its first packet on.
  if (identity.device.state === 'quarantined') deps.quarantined.add(deviceId);
  await forgetEndedQuarantine(deps, deviceId);
  if (!isStillAdmitted(deps, certificate.serial)) {
    throw new GatewayError('CERTIFICATE_REVOKED', 'this certificate was revoked a moment ago', { subject });
  }
  return {
    kind: 'device',
    deviceId,
    group: identity.group,
    serial: certificate.serial,
    notAfter: certificate.notAfter,
    readFrom: identity.policy.readFrom,
    proofLevel: identity.proofLevel,
    ...(identity.policy.publishProof === undefined ? {} : { publishProof: identity.policy.publishProof }),
  };
}

/** Whether the device gets its certificate is decided when it asks; here it may come far enough to be told. */
function admitEnrollment(
  request: SessionRequest,
  granted: { deviceId: DeviceId; notAfter: number } & (
    | { grounds: 'claim'; serial: SerialNumber }
    | { grounds: 'manufacturer'; serial: string }
  ),
): EnrollmentGrant {
  requireConnect(request, granted.deviceId, { subject: { deviceId: granted.deviceId }, mayLeaveWill: false });
  return { kind: 'enrollment', peer: request.der, chain: request.chain(), ...granted };
}

/** As above, for what the group's grace leaves of a device's own certificate: to ask for the next one. */
function admitExpired(request: SessionRequest, identity: PeerIdentity): EnrollmentGrant {
  const { deviceId, certificate, policy } = identity;
  const { serial, notAfter } = certificate;
  const subject = subjectOf(identity);
  // Whoever comes as ever does not know it yet, and is told so rather than that something is wrong with the will.
  if (request.willTopic !== undefined) {
    throw new GatewayError(
      'CERTIFICATE_EXPIRED',
      'this certificate has expired; it may still ask for the next one, in a session without a will',
      { subject },
    );
  }
  requireConnect(request, deviceId, { subject, mayLeaveWill: false });
  const graceEnd = notAfter + policy.graceSeconds * 1000;
  return {
    kind: 'enrollment',
    deviceId,
    notAfter: graceEnd,
    peer: request.der,
    chain: [],
    grounds: 'expired',
    serial,
  };
}

function subjectOf({ deviceId, certificate: { serial } }: PeerIdentity): RefusalSubject {
  return { deviceId, serial };
}

function requireConnect(
  { clientId, keepalive, willTopic }: SessionRequest,
  deviceId: DeviceId,
  { subject, mayLeaveWill }: { subject: RefusalSubject; mayLeaveWill: boolean },
): void {
  // An empty client id is allowed by MQTT 3.1.1 3.1.3.1; the certificate names the device either way.
  if (clientId !== '' && clientId !== deviceId) {
    throw new GatewayError('CLIENT_ID_MISMATCH', `the client id must be "${deviceId}", as the certificate says`, {
      subject,
    });
  }
  if (keepalive < 1 || keepalive > MAX_KEEPALIVE_SECONDS) {
    throw new GatewayError('KEEPALIVE_REQUIRED', `set a keepalive from 1 to ${MAX_KEEPALIVE_SECONDS} seconds`, {
      subject,
    });
  }
  if (willTopic === undefined || (mayLeaveWill && willTopic === deviceTopics(deviceId).state)) return;
  const allowed = mayLeaveWill ? `only allowed on ${deviceTopics(deviceId).state}` : 'not allowed before enrollment';
  throw new GatewayError('WILL_NOT_ALLOWED', `a will is ${allowed}`, { subject });
}

/** To be asked again after the session stands in the table: closes the race with a revocation. */
export function isStillAdmitted(deps: Pick<AdmitDeps, 'denySet'>, serial: SerialNumber): boolean {
  return !deps.denySet.has(serial);
}
