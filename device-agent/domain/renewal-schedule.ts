/** When a certificate is due. Times are milliseconds UTC. */
export type Validity = { notBefore: number; notAfter: number };

const TEN_DAYS_MS = 10 * 24 * 3600_000;

/** Share of the lifetime by which the moment is moved, each way. */
const SPREAD = 0.02;

/**
 * The local rule, for when the gateway gave no advice: at 2/3 of the lifetime, at 1/2 when it is under 10 days
 * (fractions, since fixed days before expiry renew a short-lived certificate without end).
 * @param spread -1..1, moves the moment by 2 % of the lifetime each way so that a fleet does not come at once.
 */
export function localRenewalMoment(validity: Validity, spread: number): number {
  const lifetime = Math.max(0, validity.notAfter - validity.notBefore);
  const share = lifetime < TEN_DAYS_MS ? 1 / 2 : 2 / 3;
  return Math.round(validity.notBefore + lifetime * (share + SPREAD * spread));
}

/** The same certificate always gives the same spread: a restart does not draw again. @returns -1..1 */
export function spreadOf(certificateSha256: string): number {
  return (Number.parseInt(certificateSha256.slice(0, 8), 16) / 0xffffffff) * 2 - 1;
}

/**
 * The lifetime from the agent's side. Issuers set notBefore back a few minutes; of a certificate that lives for
 * minutes this would be most of its life, so the moment of its arrival counts when it lies inside.
 */
export function usableValidity(validity: Validity, receivedAt: number | undefined): Validity {
  if (receivedAt === undefined || receivedAt <= validity.notBefore || receivedAt >= validity.notAfter) return validity;
  return { notBefore: receivedAt, notAfter: validity.notAfter };
}

/**
 * RFC 9773 4.2: a uniform random moment of the suggested window; at once if that moment has passed. A window that does
 * not end after it starts is one moment.
 */
export function momentInWindow(window: { start: number; end: number }, now: number, fraction: number): number {
  const width = Math.max(0, window.end - window.start);
  return Math.max(now, Math.round(window.start + fraction * width));
}

/** Of the life, what is left at least for attempts when the gateway suggests a window near its end. */
const KEPT_FOR_ATTEMPTS = 0.1;

/**
 * A moment of the gateway's window, spread evenly over a fleet and the same for a certificate however often it is asked
 * for; or that of the local rule when the gateway has suggested none. Never so late that attempts could not fail a while.
 */
function unorderedMoment(
  certificate: Validity & { sha256: string },
  life: Validity,
  window: { start: number; end: number } | undefined,
): number {
  const spread = spreadOf(certificate.sha256);
  if (window === undefined) return localRenewalMoment(life, spread);
  const latest = life.notAfter - KEPT_FOR_ATTEMPTS * Math.max(0, life.notAfter - life.notBefore);
  return Math.round(Math.min(window.start + ((spread + 1) / 2) * (window.end - window.start), latest));
}

/**
 * The earlier of what the gateway suggests (or the local rule) and what a notice ordered. An order for another serial
 * has been carried out already.
 * @param window as heard last; else the one that came with the certificate counts.
 */
export function plannedRenewal(
  identity: {
    certificate: Validity & { serial: string; sha256: string };
    meta: { receivedAt?: number; suggestedWindow?: { start: number; end: number } };
  },
  order: { serial: string; at: number } | undefined,
  window: { start: number; end: number } | undefined = identity.meta.suggestedWindow,
): number {
  const { certificate, meta } = identity;
  const moment = unorderedMoment(certificate, usableValidity(certificate, meta.receivedAt), window);
  return order?.serial === certificate.serial ? Math.min(moment, order.at) : moment;
}
