import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { type CrlFacts, type CrlTrust, findCrlIssuer, verifyCrl } from '#device-agent/domain/verify-crl.ts';
import type { CrlFolder } from '#device-agent/ports/crl-folder.ts';
import type { Log } from '#device-agent/ports/log.ts';

export type CrlShelfDeps = { crl: CrlFolder; log: Log };

/** A verified CRL on the disk. */
export type HeldCrl = CrlFacts & { octets: number };

/** Of all issuers together: a list of a million entries; more would only fill the disk. */
const MAX_OCTETS = 50 * 1024 * 1024;

/**
 * The verified CRLs on the disk, one of each issuer that has a path to an anchor, and which of them is of the issuer in
 * use. A list never goes back behind the one at hand.
 */
export class CrlShelf {
  readonly #deps: CrlShelfDeps;
  readonly #trust: () => CrlTrust;
  readonly #held = new Map<string, HeldCrl>();
  #chosen: string | undefined;

  private constructor(deps: CrlShelfDeps, trust: () => CrlTrust) {
    this.#deps = deps;
    this.#trust = trust;
  }

  /** @param trust as it is now: anchors, and CAs at hand beside those that this keeps itself */
  static async open(deps: CrlShelfDeps, trust: () => CrlTrust): Promise<CrlShelf> {
    const shelf = new CrlShelf(deps, trust);
    await shelf.#readWhatIsThere();
    return shelf;
  }

  /** That of the issuer in use. */
  get inUse(): HeldCrl | undefined {
    return this.#chosen === undefined ? undefined : this.#held.get(this.#chosen);
  }

  find(keyId: string): HeldCrl | undefined {
    return this.#held.get(keyId);
  }

  /** That of the issuer in use first. */
  all(): HeldCrl[] {
    const { inUse } = this;
    return [...(inUse ? [inUse] : []), ...[...this.#held.values()].filter((held) => held !== inUse)];
  }

  /** Whether a CRL of this issuer could be verified. */
  knows(keyId: string): boolean {
    try {
      return findCrlIssuer(keyId, this.#allTrust()) !== undefined;
    } catch {
      return false;
    }
  }

  /** Octets that the CRL of this issuer may have. undefined: an issuer not known yet. */
  roomFor(keyId: string | undefined): number {
    const others = [...this.#held.values()].filter(({ authorityKeyId }) => authorityKeyId !== keyId);
    return Math.max(1, MAX_OCTETS - others.reduce((sum, { octets }) => sum + octets, 0));
  }

  /** @throws AgentError ANSWER_UNFIT */
  verify(der: Buffer): HeldCrl {
    return { ...verifyCrl(der, this.#allTrust()), octets: der.length };
  }

  /**
   * What was downloaded last and verified takes its place.
   * @throws AgentError ANSWER_UNFIT when it is older than the one at hand
   */
  async put(fetched: HeldCrl): Promise<void> {
    const { authorityKeyId: keyId, number, thisUpdate } = fetched;
    const before = this.#held.get(keyId);
    if (before !== undefined && (number <= before.number || thisUpdate < before.thisUpdate))
      throw new AgentError('ANSWER_UNFIT', `CRL ${number} is older than the one at hand`);
    await this.#deps.crl.accept(keyId);
    this.#held.set(keyId, fetched);
    await this.#writeTogether();
  }

  /** The issuer in use is this one, whose CRL is here. */
  async choose(keyId: string): Promise<void> {
    if (keyId === this.#chosen) return;
    await this.#deps.crl.choose(keyId);
    this.#chosen = keyId;
  }

  /**
   * CRLs go whose issuer has no path to an anchor any more, or is not among these.
   * @param named key ids; undefined: whoever is trusted stays
   */
  async clear(named: readonly string[] | undefined): Promise<void> {
    const { crl, log } = this.#deps;
    const gone: string[] = [];
    for (const keyId of (await crl.readCrls()).keys()) {
      if (this.knows(keyId) && named?.includes(keyId) !== false) continue;
      this.#held.delete(keyId);
      await crl.remove(keyId);
      if (this.#chosen === keyId) this.#chosen = undefined;
      gone.push(keyId);
    }
    if (gone.length === 0) return;
    await this.#writeTogether();
    log.info('CRLs removed of issuers that are not trusted any more', { issuers: gone });
  }

  async #readWhatIsThere(): Promise<void> {
    const { crl, log } = this.#deps;
    this.#stored = await crl.readIssuers();
    for (const [keyId, der] of await crl.readCrls()) {
      try {
        const held = this.verify(der);
        if (held.authorityKeyId !== keyId) throw new Error('it is of another issuer than its name says');
        this.#held.set(keyId, held);
      } catch (error) {
        log.warn('a CRL on the disk cannot be used, another is fetched', {
          issuer: keyId,
          reason: asAgentError(error, 'ANSWER_UNFIT').message,
        });
      }
    }
    const chosen = await crl.readChosen();
    this.#chosen = chosen !== undefined && this.#held.has(chosen) ? chosen : undefined;
    // The power may have gone between a CRL and the file that holds all of them.
    if (this.#held.size > 0) await this.#writeTogether();
  }

  /** CAs that stand on the disk beside their CRLs: the device itself may have forgotten them. */
  #stored: Buffer[] = [];

  #allTrust(): CrlTrust {
    const trust = this.#trust();
    return { ...trust, issuers: [...trust.issuers, ...this.#stored] };
  }

  async #writeTogether(): Promise<void> {
    const { crl } = this.#deps;
    const all = this.all();
    const lists = await crl.readCrls();
    this.#stored = all.map(({ issuer }) => issuer);
    const ders = all.map(({ authorityKeyId }) => lists.get(authorityKeyId) ?? Buffer.alloc(0));
    await crl.writeTogether(ders, this.#stored);
  }
}
