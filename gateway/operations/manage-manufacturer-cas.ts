import { hash } from 'node:crypto';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { formatNameText } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { importPublicKey } from '#ca/pkix/public-key.ts';
import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { ManufacturerCaSummary } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { ManufacturerCa } from '#gateway/domain/manufacturer-ca.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { askAuthority } from './ask-authority.ts';

export type ManufacturerDeps = {
  store: Store;
  clock: Clock;
  authority: CertificateAuthority;
  /** After the commit: the doors trust others from now on. */
  onManufacturerCasChanged: () => Promise<void>;
};

/** Each is loaded into every TLS handshake of the doors, and named in it. */
const MOST_CAS = 200;

/**
 * Devices of this maker may ask for enrollment in the group, with the certificates their maker gave them. A root, or
 * one of its intermediates alone: then nothing else under that root. Adding the same again changes nothing but the note.
 * @throws GatewayError REQUEST_INVALID, NOT_FOUND (the group)
 */
export async function addManufacturerCa(
  deps: ManufacturerDeps,
  order: { group: string; der: Buffer; note?: string; actor: string },
): Promise<ManufacturerCaSummary> {
  const { group, actor } = order;
  const now = deps.clock.now();
  const certificate = parse(order.der);
  await requireForeignCa(deps, certificate, now);
  const ca: ManufacturerCa = {
    group,
    sha256: certificate.sha256,
    subjectSha256: hash('sha256', certificate.subject, 'hex'),
    der: certificate.der,
    note: order.note ?? null,
    addedAt: now,
  };
  const kept = await deps.store.write(async (tables) => {
    if ((await tables.groups.find(group)) === undefined) throw new GatewayError('NOT_FOUND', `no group "${group}"`);
    const all = await tables.manufacturerCas.list();
    const known = all.find((other) => other.group === group && other.sha256 === ca.sha256);
    if (known === undefined && all.length >= MOST_CAS)
      throw new GatewayError('REQUEST_INVALID', `at most ${MOST_CAS} CAs of makers are trusted; remove one first`);
    if (!(await tables.manufacturerCas.put(ca))) return known ?? ca;
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: 'manufacturer-ca.added',
        subject: `group ${group}`,
        detail: `${ca.sha256}: ${formatNameText(certificate.subject)}`,
      }),
    );
    return { ...ca, addedAt: known?.addedAt ?? now };
  });
  await deps.onManufacturerCasChanged();
  return summary(kept);
}

function parse(der: Buffer): Certificate {
  try {
    const certificate = parseCertificate(der);
    importPublicKey(certificate.publicKey);
    return certificate;
  } catch (cause) {
    const why = cause instanceof PkixError ? cause.message : 'it cannot be read';
    throw new GatewayError('REQUEST_INVALID', `this is not a certificate: ${why}`, { cause });
  }
}

async function requireForeignCa(deps: ManufacturerDeps, certificate: Certificate, now: number): Promise<void> {
  const { isCa, keyUsage, notAfter, publicKey, extensions } = certificate;
  if (!isCa || keyUsage?.has('keyCertSign') === false)
    throw new GatewayError('REQUEST_INVALID', 'this is not the certificate of a CA');
  if (extensions.has(OID.nameConstraints))
    throw new GatewayError('REQUEST_INVALID', 'this CA has name constraints, which are not judged here: use another');
  if (notAfter < now) throw new GatewayError('REQUEST_INVALID', 'this certificate has expired');
  // Our own certificates are judged by their rows. Trusted as a maker's, our CA would bring revoked devices back in.
  const {
    rootCertificate,
    intermediateCertificate,
    issuers = [],
  } = await askAuthority(deps.authority, (own) => own.describe());
  const ours = [rootCertificate, intermediateCertificate, ...issuers.flatMap((one) => [one.root, one.certificate])];
  if (ours.some((own) => parseCertificate(own).publicKey.equals(publicKey)))
    throw new GatewayError('REQUEST_INVALID', 'this is the CA of this gateway; a maker has its own');
}

export async function listManufacturerCas(
  deps: { store: Pick<Store, 'read'> },
  { group }: { group?: string },
): Promise<ManufacturerCaSummary[]> {
  return (await deps.store.read.manufacturerCas.list(group)).map(summary);
}

/** Devices that are enrolled stay so; nobody else of this maker comes in. @throws GatewayError NOT_FOUND */
export async function removeManufacturerCa(
  deps: ManufacturerDeps,
  { group, sha256, actor }: { group: string; sha256: string; actor: string },
): Promise<ManufacturerCaSummary> {
  const removed = await deps.store.write(async (tables) => {
    const ca = (await tables.manufacturerCas.list(group)).find((other) => other.sha256 === sha256);
    if (ca === undefined) throw new GatewayError('NOT_FOUND', `the group "${group}" does not trust such a CA`);
    await tables.manufacturerCas.remove(group, sha256);
    await tables.audit.append(
      auditEntry({
        at: deps.clock.now(),
        actor,
        action: 'manufacturer-ca.removed',
        subject: `group ${group}`,
        detail: sha256,
      }),
    );
    return ca;
  });
  await deps.onManufacturerCasChanged();
  return summary(removed);
}

function summary({ group, sha256, der, note, addedAt }: ManufacturerCa): ManufacturerCaSummary {
  const { subject, notAfter } = parseCertificate(der);
  return { group, sha256, subject: formatNameText(subject), notAfter, note, addedAt };
}
