import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import { cryptoProvider, Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import type { DeviceId } from '#gateway/contract/device-id.ts';

cryptoProvider.set(webcrypto);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** A P-256 key that leaves this host in the claim file only (PEM, PKCS#8), and its PKCS#10 request (DER). */
export async function makeClaimKey(deviceId: DeviceId): Promise<{ privateKey: string; csr: Buffer }> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [deviceId] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  const privateKey = KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' });
  return { privateKey: privateKey.toString(), csr: Buffer.from(request.rawData) };
}
