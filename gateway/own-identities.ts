import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import type { OwnCertificate } from '#gateway/operations/check-expiry.ts';
import {
  issueOwnCertificate,
  type OwnCertificateDeps,
  type OwnCertificateOrder,
} from '#gateway/operations/issue-own-certificate.ts';
import type { Log } from '#gateway/ports/log.ts';
import { loadCertificates, storeCertificates } from './runtime/certificate-file.ts';
import { loadOrCreateKey } from './runtime/key-file.ts';

export type OwnIdentityOptions = {
  /** Folder of keys and certificates, made 0700. */
  folder: string;
  /** DER: who issues now. Asked at every refresh. */
  issuer: () => Buffer;
  dnsNames: string[];
  ipAddresses: string[];
};

type Identity = { name: string; key: KeyObject; certificate: Certificate };

/**
 * The gateway's own two keys and their certificates: the TLS server's and the notice signer's. Certificates are
 * replaced at two thirds of their life, when their issuer changed, when the names of this machine did, or when the clock
 * was set back to before their life.
 */
export class OwnIdentities {
  readonly #deps: OwnCertificateDeps & { log: Log };
  readonly #options: OwnIdentityOptions;
  #server: Identity | undefined;
  #noticeSigner: Identity | undefined;

  constructor(deps: OwnCertificateDeps & { log: Log }, options: OwnIdentityOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  get server(): Identity {
    return ready(this.#server);
  }

  get noticeSigner(): Identity {
    return ready(this.#noticeSigner);
  }

  /** The certificates, by name, for health. */
  describe(): OwnCertificate[] {
    return [this.server, this.noticeSigner].map(({ name, certificate: { notBefore, notAfter } }) => ({
      name,
      notBefore,
      notAfter,
    }));
  }

  /** @returns true when a certificate changed. @throws AuthorityError when one is due and cannot be had */
  async refresh(): Promise<boolean> {
    const { folder, dnsNames, ipAddresses } = this.#options;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const server = await this.#load('server', (publicKey) => ({
      profile: 'gateway-server',
      publicKey,
      dnsNames,
      ipAddresses,
    }));
    const noticeSigner = await this.#load('notice-signer', (publicKey) => ({ profile: 'notice-signer', publicKey }));
    this.#server = server.identity;
    this.#noticeSigner = noticeSigner.identity;
    return server.renewed || noticeSigner.renewed;
  }

  async #load(
    name: string,
    orderFor: (publicKey: Buffer) => OwnCertificateOrder,
  ): Promise<{ identity: Identity; renewed: boolean }> {
    const { folder } = this.#options;
    const issuer = this.#options.issuer();
    const key = await loadOrCreateKey(join(folder, `${name}.key.pem`));
    const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const order = orderFor(publicKey);
    const path = join(folder, `${name}.pem`);
    const [stored] = (await loadCertificates(path)) ?? [];
    const current = stored === undefined ? undefined : parseCertificate(stored);
    if (current !== undefined && this.#isGood(current, order))
      return { identity: { name, key, certificate: current }, renewed: false };
    const certificate = parseCertificate(await issueOwnCertificate(this.#deps, order));
    await storeCertificates(path, [certificate.der, issuer]);
    this.#deps.log.info('own certificate issued', {
      certificate: name,
      serial: certificate.serial,
      notAfter: new Date(certificate.notAfter).toISOString(),
    });
    return { identity: { name, key, certificate }, renewed: true };
  }

  #isGood(certificate: Certificate, order: OwnCertificateOrder): boolean {
    const { notBefore, notAfter, authorityKeyId } = certificate;
    if (!certificate.publicKey.equals(order.publicKey)) return false;
    if (authorityKeyId !== parseCertificate(this.#options.issuer()).subjectKeyId) return false;
    // Of a future that the clock has come back from: until then nobody would take it, and no device could connect.
    if (this.#deps.clock.now() < notBefore) return false;
    if (this.#deps.clock.now() > notBefore + ((notAfter - notBefore) * 2) / 3) return false;
    if (order.profile !== 'gateway-server') return true;
    const names = new Set([...certificate.dnsNames, ...certificate.ipAddresses]);
    return (
      order.dnsNames.every((dnsName) => names.has(dnsName)) && order.ipAddresses.every((address) => names.has(address))
    );
  }
}

function ready(identity: Identity | undefined): Identity {
  if (identity === undefined) throw new Error('the own identities were not loaded yet');
  return identity;
}
