import { hash } from 'node:crypto';
import { type Certificate, parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { formatNameText } from '#ca/pkix/name.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import type { Page, TpmRootSummary } from '#gateway/contract/operator-api.ts';
import type { TpmRoot } from '#gateway/domain/attestation/trusted-tpm.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import { page } from './list-devices.ts';

export type TpmRootDeps = { store: Store; clock: Clock };

export type TpmRootOrder = {
  der: Buffer;
  /** Left out: a self-signed certificate is a root, any other one an intermediate. */
  kind?: TpmRoot['kind'];
  note?: string;
  actor: string;
};

/** Pins a maker's CA certificate. Pinning it again changes nothing. @throws GatewayError REQUEST_INVALID */
export async function addTpmRoot(deps: TpmRootDeps, order: TpmRootOrder): Promise<TpmRootSummary> {
  const certificate = parse(order.der);
  if (!certificate.isCa || certificate.keyUsage?.has('keyCertSign') === false) {
    throw new GatewayError('REQUEST_INVALID', 'this is not the certificate of a CA: pin the maker, not a TPM');
  }
  const isSelfSigned =
    certificate.subject.equals(certificate.issuer) && verifyCertificateSignature(certificate, certificate.publicKey);
  const now = deps.clock.now();
  const root: TpmRoot = {
    sha256: certificate.sha256,
    subjectSha256: hash('sha256', certificate.subject, 'hex'),
    kind: order.kind ?? (isSelfSigned ? 'root' : 'intermediate'),
    der: certificate.der,
    note: order.note ?? null,
    addedAt: now,
  };
  return deps.store.write(async (tables) => {
    const known = await tables.tpmRoots.find(root.sha256);
    if (known !== undefined) return summary(known);
    await tables.tpmRoots.insert(root);
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: order.actor,
        action: 'tpm-root.added',
        subject: `tpm-root ${root.sha256}`,
        detail: `${root.kind}: ${formatNameText(certificate.subject)}`,
      }),
    );
    return summary(root);
  });
}

export async function listTpmRoots(
  deps: Pick<TpmRootDeps, 'store'>,
  query: { after?: string | undefined; limit: number },
): Promise<Page<TpmRootSummary>> {
  const items = (await deps.store.read.tpmRoots.list(query)).map(summary);
  return page(items, query.limit, (item) => item.sha256);
}

/** Certificates that stand keep standing; at their next renewal the devices are judged without it. @throws GatewayError NOT_FOUND */
export async function removeTpmRoot(
  deps: TpmRootDeps,
  order: { sha256: string; actor: string },
): Promise<TpmRootSummary> {
  return deps.store.write(async (tables) => {
    const root = await tables.tpmRoots.find(order.sha256);
    if (root === undefined) throw new GatewayError('NOT_FOUND', 'no certificate with this SHA-256 is pinned');
    await tables.tpmRoots.remove(root.sha256);
    await tables.audit.append(
      auditEntry({
        at: deps.clock.now(),
        actor: order.actor,
        action: 'tpm-root.removed',
        subject: `tpm-root ${root.sha256}`,
        detail: root.kind,
      }),
    );
    return summary(root);
  });
}

function parse(der: Buffer): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    const why = cause instanceof PkixError ? cause.message : 'it cannot be read';
    throw new GatewayError('REQUEST_INVALID', `this is not a certificate: ${why}`, { cause });
  }
}

function summary({ sha256, kind, der, note, addedAt }: TpmRoot): TpmRootSummary {
  const { subject, notAfter } = parseCertificate(der);
  return { sha256, kind, subject: formatNameText(subject), notAfter, note, addedAt };
}
