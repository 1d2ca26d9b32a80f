import { hash } from 'node:crypto';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readNotice } from '#device-agent/domain/read-notice.ts';
import { decideTrust, parseTrustMemory, type TrustMemory } from '#device-agent/domain/trust-change.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import type { TrustBody } from '#gateway/contract/notice.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type TrustKeeperDeps = { store: StateStore; log: Log; time: TimeKeeper };

export type TrustOutcome = { outcome: 'done' | 'failed'; detail: string };

/**
 * The anchors of this device, used by every connection from the moment they are on the disk. They change only by signed
 * notices: its own, which it acknowledges, or the fleet's, to which its next report is the answer.
 */
export class TrustKeeper {
  readonly #deps: TrustKeeperDeps;
  readonly #onChanged: (anchors: Buffer[]) => Promise<void>;
  #anchors: Buffer[];
  #intermediates: Buffer[] = [];
  #memory: TrustMemory;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(
    deps: TrustKeeperDeps,
    state: { anchors: Buffer[]; memory: TrustMemory },
    onChanged: (anchors: Buffer[]) => Promise<void>,
  ) {
    this.#deps = deps;
    this.#anchors = state.anchors;
    this.#memory = state.memory;
    this.#onChanged = onChanged;
  }

  /** @param onChanged called when other anchors are in use */
  static async open(
    deps: TrustKeeperDeps,
    anchors: Buffer[],
    onChanged: (anchors: Buffer[]) => Promise<void>,
  ): Promise<TrustKeeper> {
    const memory = parseTrustMemory(await deps.store.readRecord('trust'));
    return new TrustKeeper(deps, { anchors, memory }, onChanged);
  }

  /** DER. */
  get anchors(): Buffer[] {
    return this.#anchors;
  }

  /** CAs below them and links between them, DER, as the newest notice of this start tells: nothing is trusted by standing here. */
  get intermediates(): Buffer[] {
    return this.#intermediates;
  }

  /** SHA-256 of each, lower-case hexadecimal. */
  get fingerprints(): string[] {
    return this.#anchors.map((der) => hash('sha256', der, 'hex'));
  }

  /** The fleet's notice. Never rejects. */
  async receive(payload: Buffer): Promise<void> {
    const { log, time } = this.#deps;
    const text = payload.toString('utf8');
    try {
      const { notice, signedUntil } = readNotice(text, { anchors: this.#anchors, at: time.trustedNow() });
      if (notice.kind !== 'trust' || notice.deviceId !== '*') throw new Error('it is not the notice of the fleet');
      await time.learn(notice.issuedAt, signedUntil);
      const { outcome, detail } = await this.obey(text, notice.body);
      if (outcome === 'failed') log.warn('trust notice not obeyed', { id: notice.id, reason: detail });
    } catch (error) {
      log.warn('notice refused', { topic: 'trust', reason: error instanceof Error ? error.message : String(error) });
    }
  }

  /**
   * @param text the whole notice, whose signature was verified from the anchors of now
   * @throws when the disk does not take it; then what was used before is used on
   */
  obey(text: string, body: TrustBody): Promise<TrustOutcome> {
    const turn = this.#queue.then(() => this.#obey(text, body));
    this.#queue = turn.catch(() => undefined);
    return turn;
  }

  async #obey(text: string, body: TrustBody): Promise<TrustOutcome> {
    const { store, log, time } = this.#deps;
    if (body.version >= this.#memory.trustVersion) this.#intermediates = readCertificates(body.intermediates);
    const change = decideTrust(body, this.#anchors, this.#memory);
    if (change.kind === 'none') return { outcome: 'done', detail: change.detail };
    if (change.kind === 'refuse') return { outcome: 'failed', detail: change.detail };
    const { anchors, vouching, added, dropped } = change;
    try {
      readNotice(text, { anchors: vouching, at: time.trustedNow() });
    } catch {
      return { outcome: 'failed', detail: 'it drops the anchor that it is signed under' };
    }
    const isOther = added.length > 0 || dropped.length > 0;
    // In this order: a power cut in between leaves the new anchors, and the same notice changes nothing.
    if (isOther) await store.writeTrust(anchors);
    const memory: TrustMemory = { version: 1, trustVersion: body.version };
    await store.writeRecord('trust', memory);
    this.#memory = memory;
    if (!isOther) return { outcome: 'done', detail: 'in use already' };
    this.#anchors = anchors;
    log.info('trust anchors changed', { trustVersion: body.version, added, dropped });
    await this.#onChanged(anchors);
    return { outcome: 'done', detail: `${anchors.length} in use` };
  }
}

function readCertificates(texts: readonly string[]): Buffer[] {
  return texts.flatMap((text) => {
    try {
      return [parseCertificate(Buffer.from(text, 'base64')).der];
    } catch {
      return [];
    }
  });
}
