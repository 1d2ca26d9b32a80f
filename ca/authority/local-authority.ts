import { describeIssuer } from '#ca/issuance/issuer.ts';
import { tbsCertificateFormatter } from '#ca/issuance/tbs-certificate.ts';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { isSignatureValid } from '#ca/pkix/signature-algorithm.ts';
import {
  type AuthorityDescription,
  AuthorityError,
  type CertificateAuthority,
  type CrlOrder,
} from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder, SerialNumber } from '#ca/ports/issuance-order.ts';
import type { Journal } from '#ca/ports/journal.ts';
import type { Signer } from '#ca/ports/signer.ts';
import { findIssued } from './find-issued.ts';
import { hashOrder, type IssueDeps, issueCertificate } from './issue-certificate.ts';
import { signCrl } from './sign-crl.ts';

export type LocalAuthorityDeps = {
  signer: Signer;
  journal: Journal;
  root: Certificate;
  intermediate: Certificate;
  trustDomain: string;
  /** Base URL of the status server, for CRL and issuer URLs in certificates; left out: neither is written. */
  statusUrl?: string;
  /** Milliseconds UTC. */
  clock: () => number;
};

/**
 * The authority of this process: the operations, and the order among calls that arrive together.
 * @throws AuthorityError AUTHORITY_FAILED when the key does not belong to the certificate
 */
export async function openLocalAuthority(deps: LocalAuthorityDeps): Promise<CertificateAuthority> {
  const { signer, intermediate, trustDomain, statusUrl } = deps;
  const issuer = describeIssuer(intermediate, {
    algorithm: signer.algorithm,
    trustDomain,
    ...(statusUrl !== undefined && { statusUrl }),
  });
  const probe = Buffer.from('gatehouse: is this the key of this certificate?');
  const isOurKey = isSignatureValid(issuer.signatureAlgorithm, probe, await signer.sign(probe), intermediate.publicKey);
  if (!isOurKey) throw new AuthorityError('AUTHORITY_FAILED', 'the private key is not that of intermediate.pem');
  return new LocalAuthority(deps, { ...deps, issuer, formatTbs: tbsCertificateFormatter(issuer) });
}

class LocalAuthority implements CertificateAuthority {
  readonly #deps: LocalAuthorityDeps;
  readonly #issueDeps: IssueDeps;
  /** Orders under way by serial: a second call joins the first instead of signing beside it. */
  readonly #underWay = new Map<SerialNumber, { orderSha256: string; certificate: Promise<Buffer> }>();
  /** CRLs are signed one after the other: each number is held against the one before. */
  #lastCrl: Promise<unknown> = Promise.resolve();

  constructor(deps: LocalAuthorityDeps, issueDeps: IssueDeps) {
    this.#deps = deps;
    this.#issueDeps = issueDeps;
  }

  async describe(): Promise<AuthorityDescription> {
    const { trustDomain, root, intermediate, journal } = this.#deps;
    return {
      trustDomain,
      rootCertificate: root.der,
      intermediateCertificate: intermediate.der,
      lastCrlNumber: journal.lastCrl().number,
    };
  }

  async issue(order: IssuanceOrder, signal?: AbortSignal): Promise<Buffer> {
    signal?.throwIfAborted();
    const { serial } = order;
    const orderSha256 = hashOrder(order);
    const joined = this.#underWay.get(serial);
    if (joined !== undefined) {
      if (joined.orderSha256 === orderSha256) return joined.certificate;
      throw new AuthorityError('SERIAL_REUSED', `serial number ${serial} belongs to another order`);
    }
    const certificate = issueCertificate(this.#issueDeps, order, orderSha256);
    this.#underWay.set(serial, { orderSha256, certificate });
    try {
      return await certificate;
    } finally {
      this.#underWay.delete(serial);
    }
  }

  async findIssued(serial: SerialNumber): Promise<Buffer | undefined> {
    return findIssued(this.#deps, serial);
  }

  async signCrl(order: CrlOrder): Promise<Buffer> {
    const turn = this.#lastCrl.then(() => signCrl(this.#issueDeps, order));
    this.#lastCrl = turn.catch(() => undefined);
    return turn;
  }
}
