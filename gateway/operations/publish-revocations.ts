import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { formatRevokedEntry } from '#ca/revocation/crl.ts';
import { parseRevocationReason } from '#ca/revocation/reasons.ts';
import { MAX_LISTED_REVOCATIONS } from '#gateway/contract/notice.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CrlRecord } from '#gateway/domain/revocation-record.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { NoticeSigner } from '#gateway/ports/notice-signer.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store } from '#gateway/ports/store.ts';

export type PublishDeps = {
  store: Store;
  authority: CertificateAuthority;
  broker: Broker;
  signer: NoticeSigner;
  clock: Clock;
  random: Randomness;
  metrics: Metrics;
  log: Log;
  /** Milliseconds a CRL is good for; it is replaced long before (see CRL_PERIODS_VALID). */
  crlValidity: number;
};

/** A CRL is replaced after this share of its life, so that relying parties survive several failed builds. */
const CRL_PERIODS_VALID = 8;
const PAGE = 5000;
const WAIT_FOR_CRL_MS = 1500;
/** Further ahead than this a CRL was made by a clock that was wrong. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;
/** X.509 times are whole seconds: two lists in one second could not be told apart (thisUpdate must rise). */
const SECOND = 1000;

/**
 * Publishes what was revoked: one signed CRL for all revocations that came in meanwhile, never two at a time, and the
 * retained fleet notice. When a build fails the last good CRL stays served and the next attempt follows.
 */
export class RevocationPublisher {
  readonly #deps: PublishDeps;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #lastThisUpdate = 0;
  /** When the entries of the last CRL of this process were read: what came later is not on it. */
  #collectedAt = 0;

  constructor(deps: PublishDeps) {
    this.#deps = deps;
  }

  /** Publishes, sharing the work of those who ask at the same time. Rejects when the CRL could not be built. */
  publish(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    // What is running may have read the table already: one more run covers everybody who asks from now on.
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.publish();
      });
    return this.#next;
  }

  /**
   * Publishes what was just committed, and waits for the CRL when it can be made at once: whoever revokes one device
   * finds it listed. In a series of revocations the next CRL comes a second after the last, and nobody waits for that.
   * A failure is logged and tried again by the sweep.
   */
  async published(): Promise<void> {
    const work = this.publish().catch((error: unknown) => {
      this.#deps.log.error('CRL not rebuilt, the last one stays in force', { error: String(error) });
    });
    const sinceLast = this.#deps.clock.now() - this.#lastThisUpdate;
    if (sinceLast >= 0 && sinceLast < SECOND) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, WAIT_FOR_CRL_MS);
    });
    await Promise.race([work, patience]);
    clearTimeout(timer);
  }

  /** True when the CRL in force is missing, old enough to be replaced, from the future, or lacks a revocation. */
  async isDue(): Promise<boolean> {
    const { store, clock, crlValidity } = this.#deps;
    const latest = await store.read.crls.latest();
    if (latest === undefined) return true;
    const age = clock.now() - latest.thisUpdate;
    if (age >= crlValidity / CRL_PERIODS_VALID || age < -CLOCK_TOLERANCE_MS) return true;
    const [newest] = await store.read.revocations.listNewest(1);
    return newest !== undefined && newest.revokedAt > this.#collectedAt;
  }

  async #run(): Promise<void> {
    const { store, clock, log } = this.#deps;
    const latest = await store.read.crls.latest();
    const wait = (latest?.thisUpdate ?? 0) + SECOND - clock.now();
    if (wait > 0 && wait <= SECOND) await new Promise((resolve) => setTimeout(resolve, wait));
    const crl = await this.#sign(latest);
    await this.#tellFleet(crl.number);
    log.info('CRL published', {
      number: crl.number,
      entries: crl.entries,
      nextUpdate: new Date(crl.nextUpdate).toISOString(),
    });
  }

  async #sign(latest: CrlRecord | undefined): Promise<CrlRecord> {
    const { store, authority, clock, metrics, crlValidity } = this.#deps;
    const started = clock.monotonic();
    const { lastCrlNumber } = await authority.describe();
    const collectedAt = clock.now();
    // A CRL from a wrong clock's future has listed nothing after the end of anything.
    const { entries, count } = await this.#collectEntries(Math.min(latest?.thisUpdate ?? collectedAt, collectedAt));
    // The authority remembers its last number: after a restore from an older backup numbers still only rise.
    const number = Math.max(lastCrlNumber, latest?.number ?? 0) + 1;
    const thisUpdate = Math.floor(clock.now() / SECOND) * SECOND;
    const nextUpdate = thisUpdate + crlValidity;
    this.#lastThisUpdate = thisUpdate;
    const der = await authority.signCrl({ number, thisUpdate, nextUpdate, entries });
    const crl = { number, thisUpdate, nextUpdate, entries: count, der };
    await store.write(async (tables) => {
      await tables.crls.insert(crl);
      await tables.crls.prune(3);
      await tables.audit.append(
        auditEntry({
          at: clock.now(),
          actor: 'gateway',
          action: 'crl.signed',
          subject: `crl ${number}`,
          detail: `${count} entries`,
        }),
      );
    });
    this.#collectedAt = collectedAt;
    metrics.crlSigned(count, (clock.monotonic() - started) / 1000);
    return crl;
  }

  /** An entry stays until a CRL made after the certificate's end has listed it (RFC 5280 3.3). */
  async #collectEntries(expiredBefore: number): Promise<{ entries: Buffer; count: number }> {
    const parts: Buffer[] = [];
    let after: string | undefined;
    for (;;) {
      const page = await this.#deps.store.read.revocations.listForCrl(expiredBefore, { after, limit: PAGE });
      for (const { serial, revokedAt, reason } of page) {
        parts.push(formatRevokedEntry({ serial, revokedAt, reason: parseRevocationReason(reason) ?? 'unspecified' }));
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return { entries: Buffer.concat(parts), count: parts.length };
      after = last.serial;
      // Between pages the doors get their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #tellFleet(crlNumber: number): Promise<void> {
    const { store, broker, signer, clock, random, crlValidity } = this.#deps;
    const newest = await store.read.revocations.listNewest(MAX_LISTED_REVOCATIONS + 1);
    const now = clock.now();
    const token = signer.sign({
      version: 1,
      id: random.id('n'),
      deviceId: '*',
      // The CRL number only rises, also across restores: it is the fleet's sequence.
      seq: crlNumber,
      issuedAt: now,
      expiresAt: now + crlValidity,
      kind: 'revocations',
      body: {
        crlNumber,
        revoked: newest
          .slice(0, MAX_LISTED_REVOCATIONS)
          .map(({ serial, reason, revokedAt }) => ({ serial, reason, at: revokedAt })),
        truncated: newest.length > MAX_LISTED_REVOCATIONS,
      },
    });
    broker.publishFleet(FLEET_TOPICS.revocations, token);
  }
}
