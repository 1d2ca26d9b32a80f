import 'reflect-metadata';
import { createPublicKey, generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import {
  cryptoProvider,
  Name,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509Certificates,
} from '@peculiar/x509';
import type { LoadResult } from '#scripts/bench/load-jobs.ts';
import { runLoad } from './run-load.ts';

cryptoProvider.set(webcrypto);

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

type Device = {
  ticket: string;
  key: KeyObject;
  csr: string;
  answer?: string;
  certificate?: X509Certificate | undefined;
};

/** SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and ..._RX_...: decompressing would burn the load process's time. */
const NO_CERTIFICATE_COMPRESSION = 2 ** 32 + 2 ** 33;

/** Keys and certificates of the devices that make the load. Everything slow is done before the clock runs. */
export class LoadIdentities {
  readonly #devices = new Map<string, Device>();
  readonly #contexts = new Map<string, SecureContext>();
  readonly #anchors = new Map<string, string>();

  prepare(tickets: readonly { deviceId: string; ticket: string }[]): Promise<LoadResult> {
    return runLoad(tickets, 8, async ({ deviceId, ticket }) => {
      const { key, csr } = await makeCsr(deviceId);
      this.#devices.set(deviceId, { ticket, key, csr });
    });
  }

  find(deviceId: string): Device {
    const device = this.#devices.get(deviceId);
    if (!device) throw new Error(`${deviceId} is not prepared`);
    return device;
  }

  /** Base64 of a CSR with a new key for the same name. */
  async renewalCsr(deviceId: string): Promise<string> {
    const uri = this.#certificateOf(deviceId).getExtension(SubjectAlternativeNameExtension)?.names.toJSON()[0]?.value;
    return (await makeCsr(deviceId, uri)).csr;
  }

  /** TLS 1.3 only, with the device's certificate or with none. Made once: parsing keys is not what is measured. */
  context(caFile: string, deviceId?: string): SecureContext {
    const name = `${caFile} ${deviceId ?? ''}`;
    const known = this.#contexts.get(name);
    if (known) return known;
    const identity =
      deviceId === undefined
        ? {}
        : {
            key: this.find(deviceId).key.export({ type: 'pkcs8', format: 'pem' }),
            cert: this.#certificateOf(deviceId).toString('pem'),
          };
    const context = createSecureContext({
      ca: this.#anchor(caFile),
      // The issuing CA is the anchor: a P-384 signature less to verify per connection, for every server alike.
      allowPartialTrustChain: true,
      minVersion: 'TLSv1.3',
      secureOptions: NO_CERTIFICATE_COMPRESSION,
      ...identity,
    });
    this.#contexts.set(name, context);
    return context;
  }

  #certificateOf(deviceId: string): X509Certificate {
    const device = this.find(deviceId);
    if (device.answer === undefined) throw new Error(`${deviceId} has no certificate`);
    device.certificate ??= new X509Certificates(Buffer.from(device.answer, 'base64'))[0];
    if (!device.certificate) throw new Error(`the answer for ${deviceId} holds no certificate`);
    return device.certificate;
  }

  #anchor(caFile: string): string {
    const anchor = this.#anchors.get(caFile) ?? readFileSync(caFile, 'utf8');
    this.#anchors.set(caFile, anchor);
    return anchor;
  }
}

async function makeCsr(deviceId: string, uri?: string): Promise<{ key: KeyObject; csr: string }> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: new Name([{ CN: [{ utf8String: deviceId }] }]),
    keys: {
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, P256, true, ['sign']),
      publicKey: await webcrypto.subtle.importKey('spki', spki, P256, true, ['verify']),
    },
    signingAlgorithm: P256,
    extensions: uri === undefined ? [] : [new SubjectAlternativeNameExtension([{ type: 'url', value: uri }])],
  });
  return { key: privateKey, csr: Buffer.from(request.rawData).toString('base64') };
}
