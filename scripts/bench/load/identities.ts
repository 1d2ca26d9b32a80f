import 'reflect-metadata';
import { type KeyObject, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import {
  cryptoProvider,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509Certificates,
} from '@peculiar/x509';
import type { LoadResult } from '#scripts/bench/load-jobs.ts';
import { makeCsr } from './make-csr.ts';
import { runLoad } from './run-load.ts';

cryptoProvider.set(webcrypto);

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
      const { key, csr } = makeCsr(deviceId);
      this.#devices.set(deviceId, { ticket, key, csr });
    });
  }

  find(deviceId: string): Device {
    const device = this.#devices.get(deviceId);
    if (!device) throw new Error(`${deviceId} is not prepared`);
    return device;
  }

  /** Base64 of a CSR with a new key for the same name. */
  renewalCsr(deviceId: string): string {
    const uri = this.#certificateOf(deviceId).getExtension(SubjectAlternativeNameExtension)?.names.toJSON()[0]?.value;
    return makeCsr(deviceId, uri).csr;
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
