import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice, type TrustBody } from '#gateway/contract/notice.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { acceptedIssuers, anchorsOf, type CaTrust, formatAnchors, linksOf } from '#gateway/domain/ca-trust.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Log } from '#gateway/ports/log.ts';
import { type DeliverDeps, deliverPendingNotices } from './deliver-notices.ts';
import { type QueueNoticeDeps, queueNotice } from './queue-notice.ts';

export type TellTrustDeps = DeliverDeps & QueueNoticeDeps & { log: Log; trustBook: { readonly trust: CaTrust } };

/** As long as a device may be away and still obey what waited for it. */
const NOTICE_LIFE_MS = 90 * 24 * 3600_000;
/**
 * The retained notice reaches a device at the moment it connects, so most that lack something know it a moment after
 * they have said so: only to the others a notice of their own is written.
 */
const PATIENCE_MS = 10_000;
/** A device that says it could not obey is not told the same again before this. */
const REPEAT_MS = 3600_000;
/** The record is written anew when it says something new, or is this old. */
const SEEN_WORTH_WRITING_MS = 24 * 3600_000;
/** In one turn. */
const BATCH = 100;

/** What a device is to trust now. */
function trustBody(trust: CaTrust): TrustBody {
  return {
    version: trust.version,
    anchors: anchorsOf(trust).map(base64),
    intermediates: [...acceptedIssuers(trust).map(({ certificate }) => certificate), ...linksOf(trust)].map(base64),
  };
}

function base64({ der }: { der: Buffer }): string {
  return der.toString('base64');
}

/** Retained and to everybody who listens. Safe to say again: the same version changes nothing. */
export function tellFleetTrust(
  deps: Pick<TellTrustDeps, 'signer' | 'random' | 'clock' | 'trustBook'> & { broker: Pick<Broker, 'publishFleet'> },
): void {
  const { signer, random, clock, broker, trustBook } = deps;
  const body = trustBody(trustBook.trust);
  const now = clock.now();
  const token = signer.sign({
    version: 1,
    id: random.id('n'),
    deviceId: '*',
    seq: body.version,
    issuedAt: now,
    expiresAt: now + NOTICE_LIFE_MS,
    kind: 'trust',
    body,
  });
  broker.publishFleet(FLEET_TOPICS.trust, token);
}

type Lacking = { deviceId: DeviceId; at: number };

/** Keeps which anchors each device has said it uses, and tells those again that lack some. */
export class TrustReports {
  readonly #deps: TellTrustDeps;
  /** In the order in which they said so. */
  readonly #lacking = new Map<DeviceId, Lacking>();

  constructor(deps: TellTrustDeps) {
    this.#deps = deps;
  }

  /** @param anchors SHA-256 of each, as the device says */
  async note(deviceId: DeviceId, anchors: readonly string[]): Promise<void> {
    const { store, clock } = this.#deps;
    const now = clock.now();
    const seen = formatAnchors(anchors);
    const device = await store.read.devices.find(deviceId);
    if (device === undefined) return;
    const age = now - (device.trustSeenAt ?? 0);
    if (device.trustSeen !== seen || age < 0 || age > SEEN_WORTH_WRITING_MS)
      await store.write((tables) => tables.devices.update(deviceId, { trustSeen: seen, trustSeenAt: now }));
    if (seen === this.#wanted()) this.#lacking.delete(deviceId);
    else if (!this.#lacking.has(deviceId)) this.#lacking.set(deviceId, { deviceId, at: clock.monotonic() });
  }

  /** To be called every second or so: writes notices of their own for those who still lack something. */
  async turn(): Promise<void> {
    const { clock } = this.#deps;
    const due = clock.monotonic() - PATIENCE_MS;
    const told: DeviceId[] = [];
    for (const { deviceId, at } of this.#lacking.values()) {
      if (at > due || told.length === BATCH) break;
      told.push(deviceId);
    }
    for (const deviceId of told) {
      this.#lacking.delete(deviceId);
      await this.#remind(deviceId);
    }
  }

  async #remind(deviceId: DeviceId): Promise<void> {
    const { store, clock, metrics, log } = this.#deps;
    const { trust } = this.#deps.trustBook;
    const now = clock.now();
    const queued = await store.write(async (tables) => {
      const device = await tables.devices.find(deviceId);
      if (device === undefined || device.trustSeen === this.#wanted()) return false;
      const notices = await tables.notices.listByDevice(deviceId, 1, 'trust');
      const isTold = notices.some(
        (notice) => Math.abs(now - notice.createdAt) < REPEAT_MS && versionIn(notice) === trust.version,
      );
      if (isTold) return false;
      const notice = { kind: 'trust', body: trustBody(trust) } as const;
      await queueNotice(tables, this.#deps, { deviceId, notice, now, life: NOTICE_LIFE_MS, actor: 'gateway' });
      return true;
    });
    if (!queued) return;
    log.info('device told of the trust anchors', { deviceId, trustVersion: trust.version });
    metrics.notice('queued');
    await deliverPendingNotices(this.#deps, deviceId);
  }

  #wanted(): string {
    return formatAnchors(anchorsOf(this.#deps.trustBook.trust).map(({ sha256 }) => sha256));
  }
}

function versionIn({ kind, token }: NoticeRecord): number | undefined {
  if (kind !== 'trust') return undefined;
  const notice = parseNotice(parseCompactJws(token).payload);
  return notice?.kind === 'trust' ? notice.body.version : undefined;
}
