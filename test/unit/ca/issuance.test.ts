import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { STATUS_PATHS } from '#ca/issuance/issuer.ts';
import { parseCertificate, verifyCertificateSignature } from '#ca/pkix/certificate.ts';
import { formatNameText } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import type { AuthorityErrorCode } from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder } from '#ca/ports/issuance-order.ts';
import {
  claimOrder,
  deviceOrder,
  newSerial,
  noticeSignerOrder,
  openTestAuthority,
  registrarOrder,
  serverOrder,
} from '#test/fixtures/ca/authority.ts';
import { DAY, makeIntermediate, makeRoot, NOW } from '#test/fixtures/ca/certificates.ts';
import { makeKey, makeRsaKey } from '#test/fixtures/ca/keys.ts';

const MINUTE = 60_000;

describe('issuing', () => {
  it('gives a device certificate with the name of the order and the extensions of the profile', async () => {
    const { authority, intermediate } = await openTestAuthority();
    const order = deviceOrder({ hardwareSerial: 'AB 12/3', lifetimeSeconds: 3600 });
    const certificate = parseCertificate(await authority.issue(order));
    expect(certificate.serial).toBe(order.serial);
    expect(formatNameText(certificate.subject)).toBe('serialNumber=AB 12/3,CN=pump-1');
    expect(certificate.uris).toEqual(['spiffe://gatehouse.internal/device/pump-1']);
    expect(certificate.publicKey).toEqual(order.publicKey);
    expect(certificate.notBefore).toBe(NOW - 5 * MINUTE);
    expect(certificate.notAfter).toBe(NOW + 60 * MINUTE);
    expect(certificate.extendedKeyUsage).toEqual([OID.clientAuth]);
    expect(certificate.authorityKeyId).toBe(intermediate.certificate.subjectKeyId);
    expect(verifyCertificateSignature(certificate, intermediate.certificate.publicKey)).toBe(true);
    const values = [...certificate.extensions].map(([type, { critical, value }]) => [
      type,
      critical,
      value.toString('hex'),
    ]);
    expect(values.slice(0, 3)).toEqual([
      [OID.basicConstraints, true, '3000'],
      [OID.keyUsage, true, '03020780'],
      [OID.extendedKeyUsage, false, '300a06082b06010505070302'],
    ]);
    expect(certificate.extensions.has(OID.crlDistributionPoints)).toBe(false);
  });

  it('gives server certificates DNS names and addresses', async () => {
    const { authority } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(serverOrder()));
    expect(certificate.dnsNames).toEqual(['gate.example', 'localhost']);
    expect(certificate.ipAddresses).toEqual(['127.0.0.1', '::1']);
    expect(certificate.extendedKeyUsage).toEqual([OID.serverAuth]);
  });

  it('gives a claim a name under which no device is known, for an hour at most', async () => {
    const { authority } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(claimOrder()));
    expect(formatNameText(certificate.subject)).toBe('CN=pump-1');
    expect(certificate.uris).toEqual(['spiffe://gatehouse.internal/claim/pump-1']);
    expect(certificate.extendedKeyUsage).toEqual([OID.clientAuth]);
    expect(certificate.isCa).toBe(false);
  });

  it('gives a registrar the purpose of one', async () => {
    const { authority } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(registrarOrder()));
    expect(formatNameText(certificate.subject)).toBe('CN=assembly');
    expect(certificate.uris).toEqual(['spiffe://gatehouse.internal/registrar/assembly']);
    expect(certificate.extendedKeyUsage).toEqual([OID.clientAuth, OID.cmcRa]);
  });

  it('gives the notice signer a purpose that is no TLS purpose', async () => {
    const { authority } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(noticeSignerOrder()));
    expect(certificate.extendedKeyUsage).toEqual([OID.gatehouseNoticeSigner]);
    expect(certificate.subjectAltName).toBeUndefined();
  });

  it('writes where CRL and issuer are, when there is a status server', async () => {
    const { authority } = await openTestAuthority({ statusUrl: 'http://status.example:8080/' });
    const { extensions } = parseCertificate(await authority.issue(deviceOrder()));
    const url = (type: string) => extensions.get(type)?.value.toString('latin1');
    expect(url(OID.crlDistributionPoints)).toContain(`http://status.example:8080${STATUS_PATHS.crl}`);
    expect(url(OID.authorityInfoAccess)).toContain(`http://status.example:8080${STATUS_PATHS.issuer}`);
  });

  it('never lets a certificate outlive its issuer', async () => {
    const { authority, intermediate } = await openTestAuthority();
    const certificate = parseCertificate(await authority.issue(deviceOrder({ lifetimeSeconds: 300 * 24 * 3600 })));
    expect(certificate.notAfter).toBe(intermediate.certificate.notAfter);
  });

  it('refuses to issue once the issuer has expired', async () => {
    const { authority, clock, intermediate } = await openTestAuthority();
    clock.now = intermediate.certificate.notAfter;
    expect(await codeOf(authority.issue(deviceOrder()))).toBe('PROFILE_REFUSED');
  });

  it.each(['ec-p384', 'ed25519', 'rsa-3072'] as const)('signs with an issuing key of %s', async (kind) => {
    const root = makeRoot({ key: makeKey('ec-p384') });
    const intermediate = makeIntermediate(root, { key: makeKey(kind) });
    const { authority } = await openTestAuthority({ root, intermediate });
    const certificate = parseCertificate(await authority.issue(deviceOrder()));
    expect(verifyCertificateSignature(certificate, intermediate.certificate.publicKey)).toBe(true);
  });

  const order = deviceOrder();
  it.each<[string, AuthorityErrorCode, unknown]>([
    ['a profile that does not exist', 'PROFILE_UNKNOWN', { ...order, profile: 'ca' }],
    ['a profile named like a method of every object', 'PROFILE_UNKNOWN', { ...order, profile: 'constructor' }],
    ['a life of 9 seconds', 'PROFILE_REFUSED', { ...order, lifetimeSeconds: 9 }],
    ['a life of 401 days', 'PROFILE_REFUSED', { ...order, lifetimeSeconds: 401 * 86_400 }],
    ['a life of 399 days for a server', 'PROFILE_REFUSED', { ...serverOrder(), lifetimeSeconds: 399 * 86_400 }],
    [
      'a life of 91 days for a notice signer',
      'PROFILE_REFUSED',
      { ...noticeSignerOrder(), lifetimeSeconds: 91 * 86_400 },
    ],
    ['a life of more than an hour for a claim', 'PROFILE_REFUSED', { ...claimOrder(), lifetimeSeconds: 3601 }],
    ['a life of 401 days for a registrar', 'PROFILE_REFUSED', { ...registrarOrder(), lifetimeSeconds: 401 * 86_400 }],
    ['a claim for a device id with a slash', 'ORDER_MALFORMED', { ...claimOrder(), deviceId: '../device/a' }],
    ['a registrar whose name has a slash', 'ORDER_MALFORMED', { ...registrarOrder(), name: 'a/b' }],
    ['a life that is no number', 'PROFILE_REFUSED', { ...order, lifetimeSeconds: Number.NaN }],
    ['RSA of 1024 bits', 'PROFILE_REFUSED', { ...order, publicKey: makeRsaKey(1024).spki }],
    ['a key that is none', 'PROFILE_REFUSED', { ...order, publicKey: Buffer.from('key') }],
    [
      'Ed25519 for notices, which are ES256',
      'PROFILE_REFUSED',
      { ...noticeSignerOrder(), publicKey: makeKey('ed25519').spki },
    ],
    ['a serial number of 0', 'ORDER_MALFORMED', { ...order, serial: '00'.repeat(16) }],
    ['a negative serial number', 'ORDER_MALFORMED', { ...order, serial: 'ff'.repeat(16) }],
    ['a device id with a slash', 'ORDER_MALFORMED', { ...order, deviceId: 'a/b' }],
    ['a device id of 64 characters', 'ORDER_MALFORMED', { ...order, deviceId: 'a'.repeat(64) }],
    ['an empty device id', 'ORDER_MALFORMED', { ...order, deviceId: '' }],
    ['a hardware serial with a line end', 'ORDER_MALFORMED', { ...order, hardwareSerial: 'a\nb' }],
    ['a hardware serial of 65 characters', 'ORDER_MALFORMED', { ...order, hardwareSerial: 'a'.repeat(65) }],
    ['a wildcard', 'ORDER_MALFORMED', serverOrder({ dnsNames: ['*.example'] })],
    ['a host name with an underscore', 'ORDER_MALFORMED', serverOrder({ dnsNames: ['a_b'] })],
    ['an address that is none', 'ORDER_MALFORMED', serverOrder({ ipAddresses: ['1.2.3'] })],
    ['a server without names', 'ORDER_MALFORMED', serverOrder({ dnsNames: [], ipAddresses: [] })],
  ])('refuses %s', async (_what, code, wrong) => {
    const { authority, journalPath } = await openTestAuthority();
    expect(await codeOf(authority.issue(wrong as IssuanceOrder))).toBe(code);
    expect(await readFile(journalPath, 'utf8')).toBe('');
  });

  it('refuses to certify its own key', async () => {
    const { authority, intermediate } = await openTestAuthority();
    expect(await codeOf(authority.issue(deviceOrder({ publicKey: intermediate.key.spki })))).toBe('LINT_FAILED');
  });

  it('refuses to open with a key that is not that of the certificate', async () => {
    const root = makeRoot();
    const { certificate } = makeIntermediate(root);
    await expect(openTestAuthority({ root, intermediate: { certificate, key: makeKey() } })).rejects.toThrow(
      /private key/,
    );
  });
});

describe('the same order again', () => {
  it('gives the same certificate', async () => {
    const { authority, clock } = await openTestAuthority();
    const order = deviceOrder();
    const first = await authority.issue(order);
    clock.now += DAY;
    expect(await authority.issue({ ...order })).toEqual(first);
    expect(await authority.findIssued(order.serial)).toEqual(first);
  });

  it('gives the same certificate when both calls arrive together', async () => {
    const { authority } = await openTestAuthority();
    const order = deviceOrder();
    const [first, second] = await Promise.all([authority.issue(order), authority.issue({ ...order })]);
    expect(second).toEqual(first);
  });

  it.each([
    ['another key', { publicKey: makeKey().spki }],
    ['another device', { deviceId: 'pump-2' }],
    ['another life', { lifetimeSeconds: 3601 }],
    ['a hardware serial', { hardwareSerial: 'x' }],
  ])('with %s is another order, and its serial number is taken', async (_what, change) => {
    const { authority } = await openTestAuthority();
    const order = deviceOrder();
    await authority.issue(order);
    expect(await codeOf(authority.issue(deviceOrder({ ...order, ...change } as object)))).toBe('SERIAL_REUSED');
  });

  it('tells two orders with one serial number apart when they arrive together', async () => {
    const { authority } = await openTestAuthority();
    const serial = newSerial();
    const outcomes = await Promise.allSettled([
      authority.issue(deviceOrder({ serial })),
      authority.issue(deviceOrder({ serial, deviceId: 'pump-2' })),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('finds nothing under a serial number never asked for', async () => {
    const { authority } = await openTestAuthority();
    expect(await authority.findIssued(newSerial())).toBeUndefined();
  });

  it('issues and signs more than a thousand in parallel, each under its own serial number', async () => {
    const { authority } = await openTestAuthority();
    const publicKey = makeKey().spki;
    const orders = Array.from({ length: 1200 }, (_, i) => deviceOrder({ publicKey, deviceId: `d${i}` }));
    const certificates = await Promise.all(orders.map((order) => authority.issue(order)));
    expect(certificates.map((der) => parseCertificate(der).serial)).toEqual(orders.map(({ serial }) => serial));
  });
});

async function codeOf(work: Promise<unknown>): Promise<AuthorityErrorCode | 'accepted'> {
  try {
    await work;
    return 'accepted';
  } catch (error) {
    return (error as { code: AuthorityErrorCode }).code;
  }
}
