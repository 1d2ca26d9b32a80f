import { formatPem } from '#ca/pkix/pem.ts';
import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import { acceptedIssuers, anchorsOf, type CaTrust, rolloverCertificates } from '#gateway/domain/ca-trust.ts';
import type { CaTrustBook } from '#gateway/operations/ca-trust-book.ts';
import type { Log } from '#gateway/ports/log.ts';
import { type GatewayConfig, inDataFolder } from './config.ts';
import type { EstAuthority } from './est/est-deps.ts';
import { writeDurableFile } from './runtime/durable-file.ts';
import { keepAuthorityCertificates } from './start-authority.ts';

export type TrustFollowers = {
  /** Certificates of the gateway itself, of the issuer in use. */
  refreshIdentities(): Promise<unknown>;
  reloadDoors(): void;
  tellFleet(): void;
  /** Lists and responders of the issuers there are now. */
  publishStatus(): Promise<unknown>;
};

/**
 * What follows from a change of whom we trust, in an order in which nobody is cut off: first the gateway's own
 * certificates, then the doors that show them, then the devices.
 */
export class CaTrustFollower {
  readonly #book: CaTrustBook;
  readonly #own: { config: GatewayConfig; log: Log };
  readonly #followers: TrustFollowers;
  /** The version that is carried out everywhere; an older one is carried out at the next turn. */
  #done: number;

  /** @param book as it is carried out already */
  constructor(book: CaTrustBook, own: { config: GatewayConfig; log: Log }, followers: TrustFollowers) {
    this.#book = book;
    this.#own = own;
    this.#followers = followers;
    this.#done = book.trust.version;
    book.onChanged = () => this.turn();
  }

  /** To be called every second or so: what has failed, most likely for want of the authority, is done again. Never rejects. */
  async turn(): Promise<void> {
    const { trust } = this.#book;
    const { version, active } = trust;
    if (version === this.#done) return;
    const { config, log } = this.#own;
    const followers = this.#followers;
    try {
      await followers.refreshIdentities();
      followers.reloadDoors();
      await keepTrustFiles(config, this.#book);
      followers.tellFleet();
      this.#done = version;
      log.info('trust changed', { version, issuer: active.keyId, anchors: anchorsOf(trust).length });
    } catch (error) {
      log.error('change of trust not carried out everywhere yet, tried again', { version, error: String(error) });
    }
    // Not waited for, the next list may be due in a while; the sweep tries again.
    followers
      .publishStatus()
      .catch((error: unknown) => log.error('no list after a change of trust', { error: String(error) }));
  }
}

/** For programs beside the gateway. */
export async function keepTrustFiles(
  config: GatewayConfig,
  book: { trust: CaTrust; description: AuthorityDescription },
): Promise<void> {
  const pem = anchorsOf(book.trust).map(({ der }) => formatPem('CERTIFICATE', der));
  await writeDurableFile(inDataFolder(config, DATA_FOLDER.trustAnchors), pem.join(''), 0o644);
  await keepAuthorityCertificates(config, book.description);
}

/** As the EST door shows it (RFC 7030 4.1.3). */
export function estAuthority(trust: CaTrust): EstAuthority {
  const { active, trustDomain } = trust;
  return {
    trustDomain,
    rootCertificate: active.root.der,
    intermediateCertificate: active.certificate.der,
    otherIssuers: acceptedIssuers(trust)
      .slice(1)
      .map(({ certificate }) => certificate.der),
    rolloverCertificates: rolloverCertificates(trust).map(({ der }) => der),
  };
}
