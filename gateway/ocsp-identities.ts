import { createPublicKey } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';
import type { OcspIssuer } from '#gateway/operations/answer-ocsp.ts';
import type { OwnCertificate } from '#gateway/operations/check-expiry.ts';
import { issueOwnCertificate, type OwnCertificateDeps } from '#gateway/operations/issue-own-certificate.ts';
import { listIssuers } from '#gateway/operations/list-issuers.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { OcspSigner } from '#gateway/ports/ocsp-signer.ts';
import { loadCertificates, storeCertificates } from './runtime/certificate-file.ts';
import { createOcspSigner } from './runtime/file-ocsp-signer.ts';
import { loadOrCreateKey } from './runtime/key-file.ts';

type Responder = OcspIssuer & { current: { certificate: Certificate; signer: OcspSigner } };

/**
 * The keys that answer OCSP requests, one for each issuer whose certificates are still valid: an answer counts only
 * when the issuer itself has appointed the one who signs it (RFC 6960 4.2.2.2). Their certificates cannot be taken
 * back, live a week at most, and are replaced at half of that.
 */
export class OcspIdentities {
  readonly #deps: OwnCertificateDeps & { log: Log };
  readonly #folder: string;
  #responders: Responder[] = [];

  /** @param folder of keys and certificates, made 0700 */
  constructor(deps: OwnCertificateDeps & { log: Log }, folder: string) {
    this.#deps = deps;
    this.#folder = folder;
  }

  get issuers(): readonly OcspIssuer[] {
    return this.#responders;
  }

  /** The certificates, by name, for health. */
  describe(): OwnCertificate[] {
    return this.#responders.map(({ keyId, current }) => ({
      name: `ocsp ${keyId.slice(0, 8)}`,
      notBefore: current.certificate.notBefore,
      notAfter: current.certificate.notAfter,
    }));
  }

  /**
   * One that cannot be had leaves the one of before in use, as long as it is valid.
   */
  async refresh(description: AuthorityDescription): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const responders: Responder[] = [];
    for (const { keyId, certificate } of listIssuers(description, this.#deps.clock.now())) {
      const known = this.#responders.find((one) => one.keyId === keyId);
      if (known !== undefined && this.#isFresh(known.current.certificate)) {
        responders.push(known);
        continue;
      }
      try {
        const current = await this.#load(keyId, certificate);
        const responder: Responder = { keyId, certificate, current, signer: () => current.signer };
        responders.push(responder);
      } catch (error) {
        this.#deps.log.error('no certificate for OCSP', { issuerKeyId: keyId, error: String(error) });
        if (known !== undefined) responders.push(known);
      }
    }
    this.#responders = responders;
  }

  async #load(issuerKeyId: string, issuer: Certificate): Promise<Responder['current']> {
    const name = `ocsp-${issuerKeyId.slice(0, 16)}`;
    const key = await loadOrCreateKey(join(this.#folder, `${name}.key.pem`));
    const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const path = join(this.#folder, `${name}.pem`);
    const [stored] = (await loadCertificates(path)) ?? [];
    let certificate = stored === undefined ? undefined : parseCertificate(stored);
    const isUsable =
      certificate !== undefined &&
      certificate.publicKey.equals(publicKey) &&
      certificate.authorityKeyId === issuerKeyId &&
      this.#isFresh(certificate);
    if (certificate === undefined || !isUsable) {
      const der = await issueOwnCertificate(this.#deps, { profile: 'ocsp-responder', publicKey, issuerKeyId });
      certificate = parseCertificate(der);
      await storeCertificates(path, [der, issuer.der]);
      this.#deps.log.info('own certificate issued', {
        certificate: name,
        serial: certificate.serial,
        notAfter: new Date(certificate.notAfter).toISOString(),
      });
    }
    return { certificate, signer: createOcspSigner({ key, certificate }) };
  }

  #isFresh({ notBefore, notAfter }: Certificate): boolean {
    const now = this.#deps.clock.now();
    return now >= notBefore && now < notBefore + (notAfter - notBefore) / 2;
  }
}
