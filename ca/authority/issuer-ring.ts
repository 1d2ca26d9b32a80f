import { describeIssuer, type Issuer } from '#ca/issuance/issuer.ts';
import { type CertificateTemplate, tbsCertificateFormatter } from '#ca/issuance/tbs-certificate.ts';
import { isSignatureValid } from '#ca/pkix/signature-algorithm.ts';
import { AuthorityError, type AuthorityIssuer } from '#ca/ports/certificate-authority.ts';
import type { IssuerStore, StoredIssuer } from '#ca/ports/issuer-store.ts';
import type { Signer } from '#ca/ports/signer.ts';

/** An issuing CA at work. */
export type RingIssuer = StoredIssuer & {
  issuer: Issuer;
  signer: Signer;
  formatTbs: (template: CertificateTemplate) => Buffer;
};

export type IssuerRingOptions = {
  trustDomain: string;
  statusUrl?: string;
  formerStatusUrls?: readonly string[];
  crlShards?: number;
};

/**
 * The issuing CAs of an authority, oldest first: one issues, those before it still sign their lists, those after it
 * wait. What a ceremony adds while the authority runs is found at the next look.
 */
export class IssuerRing {
  readonly #options: IssuerRingOptions;
  readonly #store: IssuerStore | undefined;
  readonly #issuers: RingIssuer[] = [];
  #active: RingIssuer;
  /** Looks and changes follow each other. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(first: RingIssuer, store: IssuerStore | undefined, options: IssuerRingOptions) {
    this.#issuers.push(first);
    this.#active = first;
    this.#store = store;
    this.#options = options;
  }

  /** @throws AuthorityError AUTHORITY_FAILED when a key does not belong to its certificate, or the active one is not there */
  static async open(
    first: StoredIssuer,
    store: IssuerStore | undefined,
    options: IssuerRingOptions,
  ): Promise<IssuerRing> {
    const ring = new IssuerRing(await prepare(first, options), store, options);
    await ring.#look();
    const keyId = await store?.active();
    if (keyId !== undefined) {
      const active = ring.find(keyId);
      if (active === undefined)
        throw new AuthorityError('AUTHORITY_FAILED', `the issuer in use, ${keyId}, is not in the authority's folder`);
      ring.#active = active;
    }
    return ring;
  }

  get active(): RingIssuer {
    return this.#active;
  }

  find(keyId: string): RingIssuer | undefined {
    return this.#issuers.find(({ issuer }) => issuer.keyId === keyId);
  }

  /** What a ceremony has added meanwhile is there afterwards. */
  async describe(): Promise<AuthorityIssuer[]> {
    await this.#inTurn(() => this.#look());
    return this.#issuers.map((one) => ({
      keyId: one.issuer.keyId,
      certificate: one.intermediate.der,
      root: one.root.der,
      crossCertificates: one.crossCertificates.map(({ der }) => der),
      isActive: one === this.#active,
    }));
  }

  /** @throws AuthorityError ISSUER_REFUSED */
  activate(keyId: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#look();
      const wanted = this.find(keyId);
      if (wanted === undefined) throw new AuthorityError('ISSUER_REFUSED', `there is no issuer ${keyId} here`);
      if (wanted === this.#active) return;
      // A replaced one may have been replaced for a reason: whoever reaches the socket does not bring it back.
      if (wanted.number < this.#active.number)
        throw new AuthorityError('ISSUER_REFUSED', 'an older issuer does not come back');
      if (this.#store === undefined) throw new AuthorityError('ISSUER_REFUSED', 'this authority has one issuer');
      await this.#store.activate(keyId);
      this.#active = wanted;
    });
  }

  /** @throws AuthorityError ISSUER_REFUSED */
  discard(keyId: string): Promise<void> {
    return this.#inTurn(async () => {
      await this.#look();
      const unwanted = this.find(keyId);
      if (unwanted === undefined) return;
      if (unwanted.number <= this.#active.number || this.#store === undefined)
        throw new AuthorityError('ISSUER_REFUSED', 'an issuer that issues, or has issued, is not discarded');
      await this.#store.discard(keyId);
      this.#issuers.splice(this.#issuers.indexOf(unwanted), 1);
    });
  }

  async #look(): Promise<void> {
    const newest = this.#issuers.at(-1)?.number ?? 0;
    for (const stored of (await this.#store?.listAfter(newest)) ?? [])
      this.#issuers.push(await prepare(stored, this.#options));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

async function prepare(
  stored: StoredIssuer,
  { trustDomain, statusUrl, formerStatusUrls, crlShards }: IssuerRingOptions,
): Promise<RingIssuer> {
  const { signer, intermediate } = stored;
  const issuer = describeIssuer(intermediate, {
    algorithm: signer.algorithm,
    trustDomain,
    isSuccessor: stored.number > 1,
    ...(statusUrl !== undefined && { statusUrl }),
    ...(formerStatusUrls !== undefined && { formerStatusUrls }),
    ...(crlShards !== undefined && { crlShards }),
  });
  const probe = Buffer.from('gatehouse: is this the key of this certificate?');
  const isOurKey = isSignatureValid(issuer.signatureAlgorithm, probe, await signer.sign(probe), intermediate.publicKey);
  if (!isOurKey) throw new AuthorityError('AUTHORITY_FAILED', 'the private key is not that of intermediate.pem');
  return { ...stored, issuer, formatTbs: tbsCertificateFormatter(issuer) };
}
