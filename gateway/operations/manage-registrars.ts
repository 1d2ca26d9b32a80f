import { formatPem } from '#ca/pkix/pem.ts';
import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder, SerialNumber } from '#ca/ports/issuance-order.ts';
import { KEY_KINDS, type RegistrarAdded, type RegistrarSummary } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Registrar } from '#gateway/domain/registrar.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { activeRecord } from './active-record.ts';
import { askAuthority } from './ask-authority.ts';
import { requireUncompromised } from './find-begun.ts';
import { isCompromised } from './is-compromised.ts';
import { markRevoked } from './mark-revoked.ts';
import type { RevocationPublisher } from './publish-revocations.ts';
import { readCsr } from './read-csr.ts';
import { type ShutOutDeps, shutOut } from './shut-out.ts';

export type RegistrarDeps = ShutOutDeps & {
  store: Store;
  clock: Clock;
  random: Randomness;
  authority: CertificateAuthority;
  revocations: Pick<RevocationPublisher, 'published'>;
};

const DAY = 24 * 3600;
/** The profile's own bound is 400 days. */
const DEFAULT_LIFETIME_SECONDS = 90 * DAY;
const MOST_LIFETIME_SECONDS = 400 * DAY;
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export type RegistrarOrder = {
  name: string;
  groups: string[];
  /** PKCS#10, DER. */
  csr: Buffer;
  /** Seconds. */
  lifetimeSeconds?: number;
  actor: string;
};

/**
 * A certificate for somebody who enrolls devices of these groups on their behalf (RFC 7030 3.7). The same key asked
 * again under the same name gets the same certificate.
 * @throws GatewayError ALREADY_EXISTS, NOT_FOUND (a group), REQUEST_INVALID, CSR_*, KEY_NOT_ALLOWED, AUTHORITY_UNAVAILABLE
 */
export async function addRegistrar(deps: RegistrarDeps, order: RegistrarOrder): Promise<RegistrarAdded> {
  const { name, actor } = order;
  const lifetimeSeconds = order.lifetimeSeconds ?? DEFAULT_LIFETIME_SECONDS;
  const groups = [...new Set(order.groups)];
  requireOrder({ name, groups, lifetimeSeconds });
  const csr = readCsr(order.csr, { keys: [...KEY_KINDS] });
  const { intermediateCertificate } = await askAuthority(deps.authority, (authority) => authority.describe());
  const chain = [formatPem('CERTIFICATE', intermediateCertificate)];

  const { registrar, given } = await reserve(deps, { name, groups, lifetimeSeconds, actor }, csr.spkiSha256);
  if (given !== undefined) return { ...summary(registrar), certificate: formatPem('CERTIFICATE', given.der), chain };
  const issuance: IssuanceOrder = {
    profile: 'registrar',
    serial: registrar.serial,
    publicKey: csr.request.publicKey,
    lifetimeSeconds,
    name,
  };
  const der = await askAuthority(deps.authority, (authority) => authority.issue(issuance));
  const now = deps.clock.now();
  const record = activeRecord(der, issuance, { deviceId: null, now });
  const isWanted = await deps.store.write(async (tables) => {
    const current = await tables.registrars.find(name);
    const isStanding = current?.serial === registrar.serial && !(await isCompromised(tables, record.spkiSha256));
    await tables.certificates.insert(record);
    if (isStanding) {
      // The end as it stands in the certificate, which its issuer may have cut.
      await tables.registrars.remove(name);
      await tables.registrars.insert({ ...registrar, notAfter: record.notAfter });
    } else await markRevoked(tables, record, { reason: 'cessationOfOperation', now, requestedBy: 'gateway' });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: isStanding ? 'registrar.added' : 'certificate.revoked',
        subject: `registrar ${name}`,
        detail: `serial ${registrar.serial}, groups ${groups.join(', ')}`,
      }),
    );
    return isStanding;
  });
  if (!isWanted) throw new GatewayError('STATE_CONFLICT', 'the registrar was removed while its certificate was made');
  return {
    ...summary({ ...registrar, notAfter: record.notAfter }),
    certificate: formatPem('CERTIFICATE', record.der),
    chain,
  };
}

function requireOrder({
  name,
  groups,
  lifetimeSeconds,
}: Omit<RegistrarOrder, 'csr' | 'actor'> & { lifetimeSeconds: number }): void {
  if (!NAME.test(name))
    throw new GatewayError(
      'REQUEST_INVALID',
      'a registrar has a name of a-z 0-9 . _ - that begins with a letter or digit',
    );
  if (groups.length === 0) throw new GatewayError('REQUEST_INVALID', 'a registrar enrolls in at least one group');
  if (lifetimeSeconds < 3600 || lifetimeSeconds > MOST_LIFETIME_SECONDS)
    throw new GatewayError('REQUEST_INVALID', "a registrar's certificate lives from an hour to 400 days");
}

/** The name is taken before the authority is asked; what was broken off before its certificate is done anew. */
async function reserve(
  deps: RegistrarDeps,
  order: { name: string; groups: string[]; lifetimeSeconds: number; actor: string },
  spkiSha256: string,
): Promise<{ registrar: Registrar; given: CertificateRecord | undefined }> {
  const { name, groups, lifetimeSeconds, actor } = order;
  const now = deps.clock.now();
  return deps.store.write(async (tables) => {
    await requireUncompromised(tables, { spkiSha256 });
    for (const group of groups) {
      if ((await tables.groups.find(group)) === undefined) throw new GatewayError('NOT_FOUND', `no group "${group}"`);
    }
    const known = await tables.registrars.find(name);
    const certificate = known === undefined ? undefined : await tables.certificates.find(known.serial);
    if (known !== undefined && certificate?.state === 'active' && certificate.notAfter > now) {
      const isSame = certificate.spkiSha256 === spkiSha256 && isSameSet(known.groups, groups);
      if (isSame) return { registrar: known, given: certificate };
      throw new GatewayError('ALREADY_EXISTS', `there is a registrar "${name}" already; remove it first`);
    }
    if (known !== undefined) await tables.registrars.remove(name);
    const serial: SerialNumber = deps.random.serialNumber();
    const notAfter = now + lifetimeSeconds * 1000;
    // After one that has only expired it is the same registrar, and what it enrolled stands.
    const createdAt = certificate === undefined || certificate.state === 'revoked' ? now : (known?.createdAt ?? now);
    const registrar: Registrar = { name, groups, serial, notAfter, createdAt, createdBy: actor };
    await tables.registrars.insert(registrar);
    return { registrar, given: undefined };
  });
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item) => b.includes(item));
}

export async function listRegistrars(deps: { store: Pick<Store, 'read'> }): Promise<RegistrarSummary[]> {
  return (await deps.store.read.registrars.list()).map(summary);
}

/** Its certificate is revoked; what it enrolled and was not used yet is refused. @throws GatewayError NOT_FOUND */
export async function removeRegistrar(
  deps: RegistrarDeps,
  { name, actor }: { name: string; actor: string },
): Promise<RegistrarSummary> {
  const now = deps.clock.now();
  const { registrar, ended } = await deps.store.write(async (tables) => {
    const registrar = await tables.registrars.find(name);
    if (registrar === undefined) throw new GatewayError('NOT_FOUND', `no registrar "${name}"`);
    await tables.registrars.remove(name);
    const ended = await revoke(tables, registrar, { actor, now });
    await tables.audit.append(
      auditEntry({
        at: now,
        actor,
        action: 'registrar.removed',
        subject: `registrar ${name}`,
        detail: registrar.serial,
      }),
    );
    return { registrar, ended };
  });
  await shutOut(deps, ended, 'registrar removed');
  if (ended.length > 0) await deps.revocations.published();
  return summary(registrar);
}

async function revoke(
  tables: Tables,
  { serial, name }: Registrar,
  { actor, now }: { actor: string; now: number },
): Promise<CertificateRecord[]> {
  const certificate = await tables.certificates.find(serial);
  if (certificate?.state !== 'active') return [];
  await markRevoked(tables, certificate, { reason: 'cessationOfOperation', now, requestedBy: actor });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'certificate.revoked',
      subject: `registrar ${name}`,
      detail: `serial ${serial}: the registrar was removed`,
    }),
  );
  return [certificate];
}

function summary({ name, groups, serial, notAfter, createdAt }: Registrar): RegistrarSummary {
  return { name, groups, serial, notAfter, createdAt };
}
