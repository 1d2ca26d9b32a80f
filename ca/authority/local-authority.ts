import type { Certificate } from '#ca/pkix/certificate.ts';
import {
  type AuthorityDescription,
  AuthorityError,
  type CrlOrder,
  type IssuedPage,
  type LastList,
  type SucceededAuthority,
} from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder, SerialNumber } from '#ca/ports/issuance-order.ts';
import type { IssuerStore } from '#ca/ports/issuer-store.ts';
import type { Journal } from '#ca/ports/journal.ts';
import type { KeptLists } from '#ca/ports/kept-lists.ts';
import type { Signer } from '#ca/ports/signer.ts';
import { findIssued } from './find-issued.ts';
import { hashOrder, type IssueDeps, issueCertificate } from './issue-certificate.ts';
import { IssuerRing, type RingIssuer } from './issuer-ring.ts';
import { signCrl } from './sign-crl.ts';

export type LocalAuthorityDeps = {
  /** Of the oldest issuing CA. */
  signer: Signer;
  journal: Journal;
  root: Certificate;
  intermediate: Certificate;
  /** Of the oldest issuing CA, when its root took the place of another. */
  crossCertificates?: Certificate[];
  /** Of the oldest issuing CA, when the first one is not there any more; default 1. */
  number?: number;
  /** What came after the oldest issuing CA; left out: nothing, ever. */
  successors?: IssuerStore;
  /** Left out: no list is kept. */
  lists?: KeptLists;
  trustDomain: string;
  /** Base URL of the status server, for CRL and issuer URLs in certificates; left out: neither is written. */
  statusUrl?: string;
  /** What it was before, newest first: certificates that are still valid may name that. */
  formerStatusUrls?: readonly string[];
  /** Lists that the revocations of certificates issued from now on are spread over; default 1, the whole list. */
  crlShards?: number;
  /** Milliseconds UTC. */
  clock: () => number;
};

/**
 * The authority of this process: the operations, and the order among calls that arrive together.
 * @throws AuthorityError AUTHORITY_FAILED when the key does not belong to the certificate
 */
export async function openLocalAuthority(deps: LocalAuthorityDeps): Promise<SucceededAuthority> {
  const { signer, root, intermediate, crossCertificates = [], number = 1, successors } = deps;
  const oldest = { number, signer, root, intermediate, crossCertificates };
  return new LocalAuthority(deps, await IssuerRing.open(oldest, successors, deps));
}

class LocalAuthority implements SucceededAuthority {
  readonly #deps: LocalAuthorityDeps;
  readonly #ring: IssuerRing;
  /** Orders under way by serial: a second call joins the first instead of signing beside it. */
  readonly #underWay = new Map<SerialNumber, { orderSha256: string; certificate: Promise<Buffer> }>();
  /** CRLs are signed one after the other: each number is held against the one before. */
  #lastCrl: Promise<unknown> = Promise.resolve();

  constructor(deps: LocalAuthorityDeps, ring: IssuerRing) {
    this.#deps = deps;
    this.#ring = ring;
  }

  async describe(): Promise<AuthorityDescription> {
    const { trustDomain, journal } = this.#deps;
    const issuers = await this.#ring.describe();
    const { root, intermediate, issuer } = this.#ring.active;
    return {
      trustDomain,
      rootCertificate: root.der,
      intermediateCertificate: intermediate.der,
      lastCrlNumber: journal.lastCrl().number,
      journalLength: journal.length,
      crlShards: issuer.status?.crlShards ?? 1,
      ...(issuer.status !== undefined && { statusUrl: issuer.status.base }),
      issuers,
    };
  }

  async activateIssuer(keyId: string): Promise<AuthorityDescription> {
    await this.#ring.activate(keyId);
    return this.describe();
  }

  async discardIssuer(keyId: string): Promise<AuthorityDescription> {
    await this.#ring.discard(keyId);
    return this.describe();
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
    const certificate = issueCertificate(this.#issueDeps(this.#issuerFor(order)), order, orderSha256);
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

  async readIssued(from: number): Promise<IssuedPage> {
    return this.#deps.journal.readIssued(from);
  }

  async lastList(issuerKeyId: string): Promise<LastList> {
    const { journal, lists } = this.#deps;
    const scope = `full@${issuerKeyId}`;
    const { number } = journal.lastCrl(scope);
    const der = number === 0 ? undefined : await lists?.find(scope, number);
    return der === undefined ? { number } : { number, der };
  }

  async signCrl(order: CrlOrder): Promise<Buffer> {
    // A list is signed by the issuer of what it lists, whoever issues now (RFC 5280 5: no indirect lists here).
    const lister = order.issuerKeyId === undefined ? this.#ring.active : this.#ring.find(order.issuerKeyId);
    if (lister === undefined) throw new AuthorityError('CRL_REFUSED', 'the issuer is not one of this authority');
    const turn = this.#lastCrl.then(() => signCrl({ ...this.#issueDeps(lister), lists: this.#deps.lists }, order));
    this.#lastCrl = turn.catch(() => undefined);
    return turn;
  }

  /** Only a responder's certificate is ordered of an issuer by name: it has to be that of what it answers for. */
  #issuerFor(order: IssuanceOrder): RingIssuer {
    if (order.profile !== 'ocsp-responder' || order.issuerKeyId === undefined) return this.#ring.active;
    const named = this.#ring.find(order.issuerKeyId);
    if (named === undefined) throw new AuthorityError('ISSUER_REFUSED', `there is no issuer ${order.issuerKeyId} here`);
    return named;
  }

  #issueDeps({ signer, issuer, formatTbs }: RingIssuer): IssueDeps {
    const { journal, clock } = this.#deps;
    return {
      signer,
      issuer,
      formatTbs,
      journal,
      clock,
      findIssuer: (keyId) => this.#ring.find(keyId),
    };
  }
}
