import { isDeviceId } from '#gateway/contract/device-id.ts';
import type { RevocationScope } from '#gateway/contract/operator-api.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { isIssuerRevocable, isNamedRevocable, isRevocable } from '#gateway/domain/revocable.ts';
import type { Tables } from '#gateway/ports/store.ts';

export type RevocationTarget = { scope: RevocationScope; target: string };

const PAGE = 500;
/** Revoked they would take the gateway itself off the air; they are replaced by themselves before they end. */
const OWN_PROFILES: readonly string[] = ['gateway-server', 'notice-signer', 'ocsp-responder'];

/**
 * The target as it is kept: hexadecimal in lower case, a lineage by its first certificate.
 * @throws GatewayError NOT_FOUND, REQUEST_INVALID, STATE_CONFLICT for a certificate of the gateway itself
 */
export async function requireTarget(read: Tables, { scope, target }: RevocationTarget): Promise<RevocationTarget> {
  switch (scope) {
    case 'device':
      if (!isDeviceId(target) || (await read.devices.find(target)) === undefined)
        throw new GatewayError('NOT_FOUND', `no device "${target}" is registered`);
      return { scope, target };
    case 'group':
      if ((await read.groups.find(target)) === undefined) throw new GatewayError('NOT_FOUND', `no group "${target}"`);
      return { scope, target };
    case 'certificate':
      return { scope, target: (await requireCertificate(read, target)).serial };
    case 'lineage': {
      const { lineageId, serial } = await requireCertificate(read, target);
      return { scope, target: lineageId ?? serial };
    }
    case 'key': {
      const spkiSha256 = hexOf(target, 'the SHA-256 of a public key (SubjectPublicKeyInfo) is 64 hexadecimal digits');
      if ((await read.certificates.listByKey(spkiSha256)).length === 0)
        throw new GatewayError(
          'NOT_FOUND',
          `no certificate of a device, a claim or a registrar has the key ${spkiSha256}`,
        );
      return { scope, target: spkiSha256 };
    }
    case 'issuer': {
      const keyId = hexOf(target, 'the key id of an issuer is hexadecimal; see: gatehouse ca show');
      if ((await read.certificates.listAllByIssuer(keyId, { limit: 1 })).length === 0)
        throw new GatewayError('NOT_FOUND', `no certificate was issued by the key ${keyId}`);
      return { scope, target: keyId };
    }
  }
}

async function requireCertificate(read: Tables, target: string): Promise<CertificateRecord> {
  const serial = hexOf(target.replace(/^0x/i, ''), 'a serial is hexadecimal').padStart(32, '0');
  const certificate = await read.certificates.find(serial);
  if (certificate === undefined) throw new GatewayError('NOT_FOUND', `no certificate has the serial ${serial}`);
  if (OWN_PROFILES.includes(certificate.profile))
    throw new GatewayError('STATE_CONFLICT', 'this is a certificate of the gateway itself; it is not revoked here');
  return certificate;
}

function hexOf(text: string, rule: string): string {
  const hex = text.toLowerCase().replaceAll(':', '');
  if (!/^[0-9a-f]{1,64}$/.test(hex)) throw new GatewayError('REQUEST_INVALID', rule);
  return hex;
}

/** What there is to revoke now, page by page, so that an issuer of a whole fleet is never in memory at once. */
export async function* revocableCertificates(
  read: Tables,
  { scope, target }: RevocationTarget,
  now: number,
): AsyncGenerator<CertificateRecord[]> {
  const isMeant = RULES[scope];
  for await (const page of certificatesOf(read, { scope, target })) {
    yield page.filter((certificate) => isMeant(certificate, now));
    // Between pages the doors get their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Of whole devices what has ended needs no revocation: a device that was revoked gets no other by it. */
const RULES = {
  device: isRevocable,
  group: isRevocable,
  certificate: isNamedRevocable,
  key: isNamedRevocable,
  lineage: isNamedRevocable,
  issuer: isIssuerRevocable,
} as const satisfies Record<RevocationScope, (certificate: CertificateRecord, now: number) => boolean>;

async function* certificatesOf(
  read: Tables,
  { scope, target }: RevocationTarget,
): AsyncGenerator<readonly CertificateRecord[]> {
  switch (scope) {
    case 'device':
      if (isDeviceId(target)) yield await read.certificates.listByDevice(target);
      return;
    case 'certificate': {
      const certificate = await read.certificates.find(target);
      if (certificate !== undefined) yield [certificate];
      return;
    }
    case 'group':
      for await (const devices of devicesOf(read, target)) {
        const certificates: CertificateRecord[] = [];
        for (const { deviceId } of devices) certificates.push(...(await read.certificates.listByDevice(deviceId)));
        yield certificates;
      }
      return;
    case 'key':
      yield await read.certificates.listByKey(target);
      return;
    case 'lineage':
      yield await read.certificates.listByLineage(target);
      return;
    case 'issuer': {
      const isInUse = await isIssuing(read, target);
      for (let after: string | undefined; ; ) {
        const page = await read.certificates.listAllByIssuer(target, { after, limit: PAGE });
        yield page.filter(({ profile }) => !isSpared(profile, isInUse));
        if (page.length < PAGE) return;
        after = page.at(-1)?.serial;
      }
    }
  }
}

/**
 * The gateway's own, where revoking them helps nobody: the same CA would have to make the next one; and a responder's is
 * not asked about (RFC 6960 4.2.2.2.1), while its issuer's certificates go on being answered for.
 */
function isSpared(profile: string, isInUse: boolean): boolean {
  return profile === 'ocsp-responder' || (isInUse && OWN_PROFILES.includes(profile));
}

/** Unknown counts as in use: a gateway that has revoked itself serves nobody. */
export async function isIssuing(read: Pick<Tables, 'caGenerations'>, issuerKeyId: string): Promise<boolean> {
  const generations = await read.caGenerations.list();
  const own = generations.find(({ kind, keyId }) => kind === 'intermediate' && keyId === issuerKeyId);
  return own === undefined || own.state === 'active';
}

const STILL_ISSUING =
  "this CA issues now: the gateway's own certificates of it stay, and devices that enroll again get theirs of it; " +
  'replace it: gatehouse ca rollover prepare, announce, activate';

/** What a revocation of this target leaves alone, and what to do about that; nothing where there is nothing to say. */
export async function noteOn(
  read: Pick<Tables, 'caGenerations'>,
  { scope, target }: RevocationTarget,
): Promise<{ note?: string }> {
  return scope === 'issuer' && (await isIssuing(read, target)) ? { note: STILL_ISSUING } : {};
}

/** The devices of a group, page by page. */
export async function* devicesOf(read: Tables, group: string): AsyncGenerator<Device[]> {
  for (let after: string | undefined; ; ) {
    const page = await read.devices.list({ group, after, limit: PAGE });
    yield page;
    if (page.length < PAGE) return;
    after = page.at(-1)?.deviceId;
  }
}
