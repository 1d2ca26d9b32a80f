import { type CertificateName, RENEWAL_INFO_RETRY, type SuggestedWindow } from '#gateway/contract/renewal-info.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { idealMoment, lifeOf } from '#gateway/domain/renewal/renewal-rule.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';

const HOUR_MS = 3_600_000;

/**
 * When this certificate is to be renewed (RFC 9773 4.2), and in how many seconds it is worth asking again: when the
 * window begins, or a day later at the latest, since it may be moved meanwhile.
 * @throws GatewayError NOT_FOUND
 */
export async function showRenewalInfo(
  deps: { store: Pick<Store, 'read'>; clock: Clock },
  name: CertificateName,
): Promise<{ window: SuggestedWindow; retryAfter: number }> {
  const certificate = await deps.store.read.certificates.find(name.serial);
  if (certificate?.issuerKeyId !== name.issuerKeyId || certificate.profile !== 'device')
    throw new GatewayError('NOT_FOUND', 'this gateway has issued no such device certificate');
  const now = deps.clock.now();
  const window = windowFor(certificate, now);
  const until = window.start > now ? window.start : window.end > now ? window.end : now + HOUR_MS;
  const seconds = Math.ceil((until - now) / 1000);
  const { least, most } = RENEWAL_INFO_RETRY;
  return { window, retryAfter: Math.min(most, Math.max(least, seconds)) };
}

function windowFor(certificate: CertificateRecord, now: number): SuggestedWindow {
  const { state, supersedeAt, renewFrom, renewUntil } = certificate;
  const isInUse = (state === 'active' && supersedeAt === null) || state === 'pending';
  // RFC 9773 4.2: a window in the past says at once. There is nothing to wait for with this certificate.
  if (!isInUse) return { start: now - 2000, end: now - 1000 };
  if (renewFrom !== null && renewUntil !== null) return { start: renewFrom, end: renewUntil };
  const start = Math.round(idealMoment(lifeOf(certificate)));
  return { start, end: start + 60_000 };
}
