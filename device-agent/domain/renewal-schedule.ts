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

/**
 * The earlier of the local rule and what a notice ordered. An order for another serial has been carried out already.
 */
export function plannedRenewal(
  identity: { certificate: Validity & { serial: string; sha256: string }; meta: { receivedAt?: number } },
  order: { serial: string; at: number } | undefined,
): number {
  const { certificate, meta } = identity;
  const rule = localRenewalMoment(usableValidity(certificate, meta.receivedAt), spreadOf(certificate.sha256));
  return order?.serial === certificate.serial ? Math.min(rule, order.at) : rule;
}
