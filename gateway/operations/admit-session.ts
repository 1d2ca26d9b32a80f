import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import type { DenySet } from '#gateway/domain/deny-set.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { activateCertificate } from './activate-certificate.ts';
import { identifyPeer } from './identify-peer.ts';

export type AdmitDeps = { store: Store; clock: Clock; denySet: DenySet };

export type SessionRequest = {
  /** The client certificate TLS verified, DER. */
  der: Buffer;
  clientId: string;
  /** Seconds, as the client asked. */
  keepalive: number;
  willTopic?: string;
  address: string;
};

export type SessionGrant = {
  deviceId: DeviceId;
  group: string;
  serial: SerialNumber;
  notAfter: number;
  readFrom: string[];
  proofLevel: ProofLevel;
  /** Lowest proof level for telemetry; left out: any. */
  publishProof?: ProofLevel;
};

/** A connection that is never pinged is never noticed to be dead; a longer interval hides a dead device too long. */
const MAX_KEEPALIVE_SECONDS = 1200;

/**
 * Decides an MQTT CONNECT. A pending certificate is made the active one, committed before this resolves, so that
 * CONNACK 0 means "the gateway has seen it work".
 * @throws GatewayError with the code that goes into the log and the audit
 */
export async function admitSession(deps: AdmitDeps, request: SessionRequest): Promise<SessionGrant> {
  const identity = await identifyPeer(deps, request.der);
  const { deviceId, certificate } = identity;
  const subject = { deviceId, serial: certificate.serial };
  // An empty client id is allowed by MQTT 3.1.1 3.1.3.1; the certificate names the device either way.
  if (request.clientId !== '' && request.clientId !== deviceId) {
    throw new GatewayError('CLIENT_ID_MISMATCH', `the client id must be "${deviceId}", as the certificate says`, {
      subject,
    });
  }
  if (request.keepalive < 1 || request.keepalive > MAX_KEEPALIVE_SECONDS) {
    throw new GatewayError('KEEPALIVE_REQUIRED', `set a keepalive from 1 to ${MAX_KEEPALIVE_SECONDS} seconds`, {
      subject,
    });
  }
  if (request.willTopic !== undefined && request.willTopic !== deviceTopics(deviceId).state) {
    throw new GatewayError('WILL_NOT_ALLOWED', `a will is only allowed on ${deviceTopics(deviceId).state}`, {
      subject,
    });
  }
  if (certificate.state === 'pending') {
    await activateCertificate(deps, certificate.serial, identity.policy.overlapSeconds);
  }
  if (!isStillAdmitted(deps, certificate.serial)) {
    throw new GatewayError('CERTIFICATE_REVOKED', 'this certificate was revoked a moment ago', { subject });
  }
  return {
    deviceId,
    group: identity.group,
    serial: certificate.serial,
    notAfter: certificate.notAfter,
    readFrom: identity.policy.readFrom,
    proofLevel: identity.proofLevel,
    ...(identity.policy.publishProof === undefined ? {} : { publishProof: identity.policy.publishProof }),
  };
}

/** To be asked again after the session stands in the table: closes the race with a revocation. */
export function isStillAdmitted(deps: Pick<AdmitDeps, 'denySet'>, serial: SerialNumber): boolean {
  return !deps.denySet.has(serial);
}
