import { hash } from 'node:crypto';
import { IssuanceError } from '#ca/issuance/issuance-error.ts';
import type { Issuer } from '#ca/issuance/issuer.ts';
import { lintCertificate } from '#ca/issuance/lint-certificate.ts';
import { prepareCertificate } from '#ca/issuance/prepare-certificate.ts';
import { findProfile } from '#ca/issuance/profiles.ts';
import { assembleCertificate, type CertificateTemplate } from '#ca/issuance/tbs-certificate.ts';
import { parseTbsCertificate } from '#ca/pkix/certificate.ts';
import { AuthorityError } from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder } from '#ca/ports/issuance-order.ts';
import { isSerialNumber } from '#ca/ports/issuance-order.ts';
import type { Journal } from '#ca/ports/journal.ts';
import type { Signer } from '#ca/ports/signer.ts';

export type IssueDeps = {
  signer: Signer;
  journal: Journal;
  issuer: Issuer;
  formatTbs: (template: CertificateTemplate) => Buffer;
  /** Milliseconds UTC. */
  clock: () => number;
  /** Another issuer of this authority: an intent may be older than the one that issues now. */
  findIssuer?: (keyId: string) => { signer: Signer; issuer: Issuer } | undefined;
};

/**
 * Prepare, lint, record the intent, sign, record the certificate, and only then give it away. The same order asked
 * again gives the same certificate; broken off in between, the very bytes of the recorded intent are signed. To be
 * called once at a time per serial.
 * @param orderSha256 of hashOrder
 * @returns DER
 * @throws AuthorityError
 */
export async function issueCertificate(deps: IssueDeps, order: IssuanceOrder, orderSha256: string): Promise<Buffer> {
  const { journal, clock } = deps;
  const { serial } = order;
  const known = await journal.find(serial);
  if (known !== undefined && known.orderSha256 !== orderSha256) {
    throw new AuthorityError('SERIAL_REUSED', `serial number ${serial} belongs to another order`);
  }
  if (known?.kind === 'certificate') return known.der;

  const tbs = known === undefined ? prepare(deps, order) : known.tbs;
  const { issuer, signer } = known === undefined ? deps : issuerOf(tbs, deps);
  // What comes back from the journal is linted as well: a file is no reason to sign.
  lint(tbs, order, issuer);
  if (known === undefined) {
    await journal.append({
      kind: 'intent',
      at: clock(),
      serial,
      profile: order.profile,
      subject: describeSubject(order),
      orderSha256,
      tbs: tbs.toString('base64'),
    });
  }
  const signature = await signer.sign(tbs);
  const der = assembleCertificate(tbs, issuer.signatureAlgorithm, signature);
  await journal.append({ kind: 'certificate', at: clock(), serial, orderSha256, der: der.toString('base64') });
  return der;
}

/** Whoever was to sign when the intent was recorded: no other signature fits these bytes. */
function issuerOf(tbs: Buffer, deps: IssueDeps): { signer: Signer; issuer: Issuer } {
  const keyId = asAuthorityError(() => readIssuerKeyId(tbs));
  return (keyId === undefined ? undefined : deps.findIssuer?.(keyId)) ?? deps;
}

function readIssuerKeyId(tbs: Buffer): string | undefined {
  try {
    return parseTbsCertificate(tbs).authorityKeyId;
  } catch (cause) {
    throw new IssuanceError('LINT_FAILED', 'the recorded intent cannot be read back', { cause });
  }
}

function prepare(deps: IssueDeps, order: IssuanceOrder): Buffer {
  return asAuthorityError(() => prepareCertificate(order, deps.issuer, deps.formatTbs, deps.clock()));
}

function lint(tbs: Buffer, order: IssuanceOrder, issuer: Issuer): void {
  asAuthorityError(() => lintCertificate(tbs, order, issuer));
}

function asAuthorityError<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof IssuanceError) throw new AuthorityError(cause.code, cause.message, { cause });
    throw cause;
  }
}

/**
 * SHA-256 of every field in a fixed order: two orders are the same when nothing in them differs.
 * @throws AuthorityError ORDER_MALFORMED, PROFILE_UNKNOWN
 */
export function hashOrder(order: IssuanceOrder): string {
  if (!isSerialNumber(order.serial)) throw new AuthorityError('ORDER_MALFORMED', 'the serial number is not one');
  asAuthorityError(() => findProfile(order.profile));
  const fields = [
    order.serial,
    order.profile,
    order.publicKey.toString('base64'),
    order.lifetimeSeconds,
    ...subjectFields(order),
  ];
  return hash('sha256', JSON.stringify(fields), 'hex');
}

function subjectFields(order: IssuanceOrder): (string | null | string[])[] {
  switch (order.profile) {
    case 'device':
      // Appended only when there is one: an order journaled before there were proof levels keeps its hash.
      return [
        order.deviceId,
        order.hardwareSerial ?? null,
        ...(order.proofLevel === undefined ? [] : [order.proofLevel]),
        ...(order.noRevAvail === true ? ['noRevAvail'] : []),
      ];
    case 'device-bootstrap':
      return [order.deviceId];
    case 'registrar':
      return [order.name];
    case 'gateway-server':
      return [order.dnsNames, order.ipAddresses];
    case 'notice-signer':
      return [];
    case 'ocsp-responder':
      return order.issuerKeyId === undefined ? [] : [order.issuerKeyId];
  }
}

/** For whoever reads the journal. */
function describeSubject(order: IssuanceOrder): string {
  switch (order.profile) {
    case 'device':
    case 'device-bootstrap':
      return order.deviceId;
    case 'registrar':
      return order.name;
    case 'gateway-server':
      return [...order.dnsNames, ...order.ipAddresses].join(' ');
    case 'notice-signer':
      return 'notice signer';
    case 'ocsp-responder':
      return 'OCSP responder';
  }
}
