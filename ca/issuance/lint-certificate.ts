import type { TbsCertificate } from '#ca/pkix/certificate.ts';
import { parseTbsCertificate } from '#ca/pkix/certificate.ts';
import { readDer, sequence, time } from '#ca/pkix/der.ts';
import { readText } from '#ca/pkix/der-values.ts';
import { parseIpAddress } from '#ca/pkix/ip-address.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type CertifiedProofLevel, readPolicies } from '#ca/pkix/proof-level.ts';
import { describePublicKey, keyIdentifier } from '#ca/pkix/public-key.ts';
import { IssuanceError } from './issuance-error.ts';
import type { Issuer } from './issuer.ts';
import { findProfile, type Profile } from './profiles.ts';
import {
  formatDeviceUri,
  GATEWAY_COMMON_NAME,
  NOTICE_SIGNER_COMMON_NAME,
  OCSP_RESPONDER_COMMON_NAME,
  type Subject,
} from './subject-names.ts';

/** What was ordered, as the lint needs it. */
export type Ordered = Subject & { serial: string; publicKey: Uint8Array };

/**
 * The last look before a signature: the bytes to be signed are read back and held against the order, the profile and
 * the issuer, sharing nothing with the code that wrote them but the profile's row.
 * @throws IssuanceError LINT_FAILED naming every finding.
 */
export function lintCertificate(tbs: Uint8Array, ordered: Ordered, issuer: Issuer): void {
  const findings: string[] = [];
  const check = (holds: boolean, finding: string) => {
    if (!holds) findings.push(finding);
  };
  const certificate = readBack(tbs);
  const profile = findProfile(ordered.profile);
  lintFields(certificate, ordered, issuer, check);
  lintKey(certificate, profile, ordered, issuer, check);
  lintValidity(certificate, profile, issuer, check);
  const proofLevel = ordered.profile === 'device' ? ordered.proofLevel : undefined;
  const noRevAvail = ordered.profile === 'device' && ordered.noRevAvail === true;
  lintExtensions(certificate, { profile, proofLevel, noRevAvail }, issuer, check);
  lintStatus(certificate, { profile, noRevAvail }, issuer, check);
  lintNames(certificate, ordered, issuer, check);
  if (findings.length > 0)
    throw new IssuanceError('LINT_FAILED', `the certificate would be wrong: ${findings.join('; ')}`);
}

type Check = (holds: boolean, finding: string) => void;

function readBack(tbs: Uint8Array): TbsCertificate {
  try {
    return parseTbsCertificate(tbs);
  } catch (cause) {
    throw new IssuanceError('LINT_FAILED', 'the certificate would be wrong: it cannot be read back', { cause });
  }
}

function lintFields(certificate: TbsCertificate, ordered: Ordered, issuer: Issuer, check: Check): void {
  // RFC 5280 4.1.2.2; 16 octets with the top bit clear and a first octet that is not zero.
  check(/^(?:0[1-9a-f]|[1-7][0-9a-f])[0-9a-f]{30}$/.test(certificate.serial), 'the serial number is not one of ours');
  check(certificate.serial === ordered.serial, 'the serial number is not the one ordered');
  check(certificate.issuer.equals(issuer.certificate.subject), 'the issuer is not our name');
  check(
    certificate.signatureAlgorithm.equals(issuer.signatureAlgorithm),
    'the signature algorithm is not that of our key',
  );
}

function lintKey(certificate: TbsCertificate, profile: Profile, ordered: Ordered, issuer: Issuer, check: Check): void {
  const { publicKey } = certificate;
  check(publicKey.equals(ordered.publicKey), 'the public key is not the one ordered');
  const { kind, description } = describeKey(publicKey);
  check(kind !== undefined && profile.keyKinds.includes(kind), `the profile has no place for the key ${description}`);
  check(!publicKey.equals(issuer.certificate.publicKey), 'the public key is our own');
}

function describeKey(publicKey: Uint8Array): ReturnType<typeof describePublicKey> {
  try {
    return describePublicKey(publicKey);
  } catch {
    return { kind: undefined, description: '(unreadable)' };
  }
}

function lintValidity(certificate: TbsCertificate, profile: Profile, issuer: Issuer, check: Check): void {
  const { notBefore, notAfter, tbs } = certificate;
  check(notBefore < notAfter, 'it ends before it begins');
  check(notBefore >= issuer.certificate.notBefore, 'it begins before its issuer');
  check(notAfter <= issuer.certificate.notAfter, 'it ends after its issuer');
  // RFC 5280 4.1.2.5: written back in the one right form, the times stand there byte for byte.
  check(tbs.includes(sequence(time(notBefore), time(notAfter))), 'a time has the wrong form');
  // notBefore is set back, so the whole period may be that much longer than the lifetime.
  const slack = 10 * 60 * 1000;
  check(notAfter - notBefore <= profile.lifetime.most * 1000 + slack, 'it lives longer than its profile allows');
}

/** Written a second time, so that the lint does not believe the code it checks. */
const PROOF_POLICIES: Record<CertifiedProofLevel, readonly string[]> = {
  tpm: ['2.23.133.11.1.1', '2.23.133.11.1.2'],
  'tpm-endorsed': ['2.23.133.11.1.1', '2.23.133.11.1.2', OID.gatehouseTpmEndorsed],
};

/** Present or absent, critical or not: there is nothing in between and nothing else. */
function lintExtensions(
  certificate: TbsCertificate,
  {
    profile,
    proofLevel,
    noRevAvail,
  }: { profile: Profile; proofLevel: CertifiedProofLevel | undefined; noRevAvail: boolean },
  issuer: Issuer,
  check: Check,
): void {
  const expected = new Map<string, boolean>([
    [OID.basicConstraints, true],
    [OID.keyUsage, true],
    [OID.extendedKeyUsage, false],
    [OID.subjectKeyIdentifier, false],
    [OID.authorityKeyIdentifier, false],
  ]);
  if (profile.hasSubjectAltName) expected.set(OID.subjectAltName, false);
  const { status } = issuer;
  if (status !== undefined) expected.set(OID.authorityInfoAccess, false);
  if (status !== undefined && profile.isStatusChecked && !noRevAvail) expected.set(OID.crlDistributionPoints, false);
  if (!profile.isStatusChecked) expected.set(OID.ocspNoCheck, false);
  if (noRevAvail) expected.set(OID.noRevAvail, false);
  if (proofLevel !== undefined) expected.set(OID.certificatePolicies, false);
  const { extensions } = certificate;
  for (const [type, critical] of expected) {
    const extension = extensions.get(type);
    check(extension !== undefined, `extension ${type} is missing`);
    check(extension === undefined || extension.critical === critical, `extension ${type} has the wrong critical flag`);
  }
  for (const type of extensions.keys()) check(expected.has(type), `extension ${type} does not belong there`);

  const value = (type: string) => extensions.get(type)?.value;
  check(!certificate.isCa && value(OID.basicConstraints)?.toString('hex') === '3000', 'it is not an end entity');
  check(isSameSet([...(certificate.keyUsage ?? [])], profile.keyUsage), 'the key usage is not that of the profile');
  check(
    isSameSet(certificate.extendedKeyUsage ?? [], profile.extendedKeyUsage),
    'the purposes are not those of the profile',
  );
  const keyId = certificate.subjectKeyId;
  check(keyId === keyIdentifier(certificate.publicKey).toString('hex'), 'the subject key id is not that of the key');
  const policies = value(OID.certificatePolicies);
  const expectedPolicies = proofLevel === undefined ? [] : PROOF_POLICIES[proofLevel];
  check(
    isSameList(policies === undefined ? [] : readPolicies(policies), expectedPolicies),
    'the policies are not those of the proof level',
  );
  const authorityKeyId = value(OID.authorityKeyIdentifier)?.toString('hex');
  check(authorityKeyId === `30168014${issuer.keyId}`, 'the authority key id is not our subject key id');
}

/** Where status is to be had, or that there is none; never both (RFC 9608 3). */
function lintStatus(
  certificate: TbsCertificate,
  { profile, noRevAvail }: { profile: Profile; noRevAvail: boolean },
  issuer: Issuer,
  check: Check,
): void {
  const { extensions, notBefore, notAfter, serial } = certificate;
  for (const type of [OID.noRevAvail, OID.ocspNoCheck]) {
    const value = extensions.get(type)?.value.toString('hex');
    check(value === undefined || value === '0500', `extension ${type} is not NULL`);
  }
  const slack = 10 * 60 * 1000;
  check(!noRevAvail || notAfter - notBefore <= profile.mostWithoutStatus * 1000 + slack, 'it lives too long for that');
  const { status } = issuer;
  if (status === undefined) return;
  const access = extensions.get(OID.authorityInfoAccess)?.value;
  check(access?.includes(status.issuer) === true, 'the issuer URL is missing');
  const isPublished = profile.isStatusChecked && !noRevAvail;
  check(access?.includes(status.ocsp) === isPublished, 'the OCSP URL is missing, or does not belong there');
  if (!isPublished) return;
  const crl = extensions.get(OID.crlDistributionPoints)?.value;
  // Written a second time: the shard is the serial's last four octets modulo their number.
  const shard = Number(BigInt(`0x${serial}`) % 0x1_0000_0000n) % status.crlShards;
  const list = `shard-${status.crlShards}-${shard}.crl`;
  const shardUrl = `${status.base}/crl/${status.name === undefined ? list : `${issuer.keyId}-${list}`}`;
  const url = status.crlShards === 1 ? status.crl : shardUrl;
  const hasUrl = crl?.subarray(-url.length).toString('latin1') === url;
  check(hasUrl, 'the CRL URL is missing');
}

function lintNames(certificate: TbsCertificate, ordered: Ordered, issuer: Issuer, check: Check): void {
  const { uris, dnsNames, ipAddresses, subjectAltName } = certificate;
  const subject = readSubject(certificate.subject);
  const names = subjectAltName === undefined ? 0 : readDer(subjectAltName).children().length;
  check(names === uris.length + dnsNames.length + ipAddresses.length, 'an alternative name of another kind');
  switch (ordered.profile) {
    case 'device': {
      const { deviceId, hardwareSerial } = ordered;
      const serialText = hardwareSerial === undefined ? '' : `|${OID.serialNumber}=${hardwareSerial}`;
      check(subject === `${OID.commonName}=${deviceId}${serialText}`, 'the subject is not the device');
      const isOnlyUri = names === 1 && uris[0] === formatDeviceUri(issuer.trustDomain, deviceId);
      check(isOnlyUri, 'the alternative name is not the one URI of the device');
      return;
    }
    case 'device-bootstrap': {
      check(subject === `${OID.commonName}=${ordered.deviceId}`, 'the subject is not the device');
      // Written a second time: under no other path than a claim's.
      const isOnlyUri = names === 1 && uris[0] === `spiffe://${issuer.trustDomain}/claim/${ordered.deviceId}`;
      check(isOnlyUri, 'the alternative name is not the one URI of the claim');
      return;
    }
    case 'registrar': {
      check(subject === `${OID.commonName}=${ordered.name}`, 'the subject is not the registrar');
      const isOnlyUri = names === 1 && uris[0] === `spiffe://${issuer.trustDomain}/registrar/${ordered.name}`;
      check(isOnlyUri, 'the alternative name is not the one URI of the registrar');
      return;
    }
    case 'gateway-server': {
      check(subject === `${OID.commonName}=${GATEWAY_COMMON_NAME}`, 'the subject is not the gateway');
      const ordersAddresses = ordered.ipAddresses.map((address) => parseIpAddress(address)?.toString('hex') ?? '');
      const hasAddresses = ipAddresses.map((address) => parseIpAddress(address)?.toString('hex') ?? '');
      check(isSameList(dnsNames, ordered.dnsNames), 'the DNS names are not those ordered');
      check(isSameList(hasAddresses, ordersAddresses), 'the IP addresses are not those ordered');
      check(uris.length === 0 && names > 0, 'a server has DNS names and IP addresses');
      return;
    }
    case 'notice-signer':
      check(subject === `${OID.commonName}=${NOTICE_SIGNER_COMMON_NAME}`, 'the subject is not the notice signer');
      check(names === 0, 'a notice signer has no alternative names');
      return;
    case 'ocsp-responder':
      check(subject === `${OID.commonName}=${OCSP_RESPONDER_COMMON_NAME}`, 'the subject is not the OCSP responder');
      check(names === 0, 'an OCSP responder has no alternative names');
  }
}

/** `type=text` of every RDN; RDNs of several attributes give text that equals nothing ordered. */
function readSubject(name: Buffer): string {
  return parseName(readDer(name), 'the subject')
    .map((attributes) =>
      attributes.map(({ type, value }) => `${type}=${readText(value, 'the subject') ?? '#'}`).join('+'),
    )
    .join('|');
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item) => b.includes(item));
}
