import { createPrivateKey, createPublicKey } from 'node:crypto';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { isDeviceId } from '#gateway/contract/device-id.ts';
import { isGatewayAddress } from './agent-config.ts';
import { AgentError } from './agent-error.ts';

/** Unknown fields are ignored. @throws AgentError USAGE that never repeats the text, since it holds a private key. */
export function readClaimFile(text: string): ClaimFile {
  const { kind, version, deviceId, trustDomain, est, mqtt, root, certificates, privateKey, expiresAt } = fieldsOf(text);
  if (kind !== 'gatehouse-claim') throw unfit('it is none');
  if (version !== 1) throw unfit('its version is not known; update this agent');
  if (!isDeviceId(deviceId)) throw unfit('the device id is missing');
  if (typeof trustDomain !== 'string') throw unfit('the trust domain is missing');
  if (!isGatewayAddress(est) || !isGatewayAddress(mqtt)) throw unfit('the address of the gateway is missing');
  if (typeof root !== 'string' || typeof certificates !== 'string' || typeof privateKey !== 'string')
    throw unfit('its root, its certificates or its key are missing');
  if (typeof expiresAt !== 'number' || !Number.isFinite(expiresAt)) throw unfit('it does not say when it ends');
  if (!isConsistent(root, certificates, privateKey)) throw unfit('its root, certificates or key are damaged');
  return {
    kind,
    version,
    deviceId,
    trustDomain,
    est: { host: est.host, port: est.port },
    mqtt: { host: mqtt.host, port: mqtt.port },
    root,
    certificates,
    privateKey,
    expiresAt,
  };
}

function fieldsOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below, without the text.
  }
  throw unfit('it is not JSON');
}

function isConsistent(root: string, certificates: string, privateKey: string): boolean {
  try {
    const [anchor] = parsePem(root, 'CERTIFICATE');
    const [leaf] = parsePem(certificates, 'CERTIFICATE');
    const publicKey = createPublicKey(createPrivateKey(privateKey)).export({ type: 'spki', format: 'der' });
    return anchor !== undefined && leaf !== undefined && parseCertificate(leaf).publicKey.equals(publicKey);
  } catch {
    return false;
  }
}

function unfit(why: string): AgentError {
  return new AgentError('USAGE', `this claim file cannot be used: ${why}`, {
    advice: 'get a new one from the gateway: `gatehouse ticket claim DEVICE`',
  });
}
