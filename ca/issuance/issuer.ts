import type { Certificate } from '#ca/pkix/certificate.ts';
import { MAX_CRL_SHARDS, shardOf } from '#ca/pkix/crl-shard.ts';
import { formatSignatureAlgorithm, type SignatureAlgorithmName } from '#ca/pkix/signature-algorithm.ts';
import { IssuanceError } from './issuance-error.ts';

/** Paths below the status URL, for the ones who serve them. */
export const STATUS_PATHS = {
  crl: '/crl/intermediate.crl',
  deltaCrl: '/crl/delta.crl',
  ocsp: '/ocsp',
  issuer: '/ca/intermediate.cer',
} as const;

/** Path of one shard. The number of shards stands in it: with another number it is another list. */
function shardPath(shard: { index: number; count: number }, name?: string): string {
  const issuer = name === undefined ? '' : `${name}-`;
  return `/crl/${issuer}shard-${shard.count}-${shard.index}.crl`;
}

/**
 * Where the lists and the certificate of an issuer are found: the first issuer of an authority has the paths above,
 * whoever took its place later has its name in them, for ever.
 * @param name key id of the issuer, lower-case hexadecimal; left out: the first
 */
export function statusPathsOf(name?: string): { [Path in keyof typeof STATUS_PATHS]: string } {
  if (name === undefined) return STATUS_PATHS;
  return { ...STATUS_PATHS, crl: `/crl/${name}.crl`, deltaCrl: `/crl/${name}-delta.crl`, issuer: `/ca/${name}.cer` };
}

/** URLs that go into certificates and lists. */
export type StatusUrls = {
  base: string;
  crl: string;
  deltaCrl: string;
  ocsp: string;
  issuer: string;
  /** Bases of before that certificates may still name, newest first. */
  formerBases: readonly string[];
  /** How many lists the certificates issued from now on are spread over; 1: the whole list. */
  crlShards: number;
  /** Stands in the paths of this issuer; left out: it is the first one. */
  name?: string;
};

/** What of the issuing CA goes into the certificates it issues. */
export type Issuer = {
  certificate: Certificate;
  /** Subject key id, lower-case hexadecimal. */
  keyId: string;
  /** AlgorithmIdentifier of its signatures, DER. */
  signatureAlgorithm: Buffer;
  trustDomain: string;
  /** Where status is to be had; left out when no status server is configured. */
  status?: StatusUrls;
};

/**
 * @param options.statusUrl base of the status server, http, e.g. `http://gate.example:8080`: what is fetched from there is
 * signed, and https would need a check of the very thing that is being checked (RFC 5280 8).
 * @param options.formerStatusUrls what it was before, newest first: certificates go on naming that
 * @param options.crlShards 1 to MAX_CRL_SHARDS; default 1
 * @param options.isSuccessor true: not the first issuer of its authority, with paths of its own
 * @throws IssuanceError PROFILE_REFUSED when this certificate cannot issue, or the URL cannot stand in certificates.
 */
export function describeIssuer(
  certificate: Certificate,
  options: {
    algorithm: SignatureAlgorithmName;
    trustDomain: string;
    statusUrl?: string;
    formerStatusUrls?: readonly string[];
    crlShards?: number;
    isSuccessor?: boolean;
  },
): Issuer {
  const { subjectKeyId, isCa, keyUsage } = certificate;
  if (subjectKeyId === undefined || !isCa || keyUsage?.has('keyCertSign') !== true || !keyUsage.has('cRLSign')) {
    throw new IssuanceError('PROFILE_REFUSED', 'the issuing certificate is not that of a CA');
  }
  return {
    certificate,
    keyId: subjectKeyId,
    signatureAlgorithm: formatSignatureAlgorithm(options.algorithm),
    trustDomain: options.trustDomain,
    ...(options.statusUrl !== undefined && {
      status: statusUrls(options.statusUrl, {
        formerBases: options.formerStatusUrls ?? [],
        crlShards: options.crlShards ?? 1,
        name: options.isSuccessor === true ? subjectKeyId : undefined,
      }),
    }),
  };
}

function statusUrls(
  status: string,
  { formerBases, crlShards, name }: { formerBases: readonly string[]; crlShards: number; name: string | undefined },
): StatusUrls {
  const base = baseOf(status);
  if (![base, ...formerBases].every((one) => /^http:\/\/[\x21-\x7e]{1,200}$/.test(one)))
    throw new IssuanceError('PROFILE_REFUSED', 'the status URL is not an http URL');
  if (!Number.isSafeInteger(crlShards) || crlShards < 1 || crlShards > MAX_CRL_SHARDS)
    throw new IssuanceError('PROFILE_REFUSED', `the CRL is split into 1 to ${MAX_CRL_SHARDS} shards`);
  const { crl, deltaCrl, ocsp, issuer } = statusPathsOf(name);
  return {
    base,
    crl: `${base}${crl}`,
    deltaCrl: `${base}${deltaCrl}`,
    ocsp: `${base}${ocsp}`,
    issuer: `${base}${issuer}`,
    formerBases,
    crlShards,
    ...(name !== undefined && { name }),
  };
}

/** Of a status URL as an operator writes it. */
export function baseOf(statusUrl: string): string {
  return statusUrl.replace(/\/+$/, '');
}

/**
 * URLs of the list that covers this shard, that of now first: the very octets that stand in certificates and in the list
 * (RFC 5280 5.2.5). The status server may have moved since a certificate was issued, and the list must still be its own.
 */
export function shardUrls(
  { base, formerBases, name }: StatusUrls,
  shard: { index: number; count: number },
): [string, ...string[]] {
  const path = shardPath(shard, name);
  return [`${base}${path}`, ...formerBases.map((former) => `${former}${path}`)];
}

/** URL of the list that a certificate names. @param serial hexadecimal */
export function crlUrlFor(status: StatusUrls, serial: string): string {
  const { crlShards } = status;
  return crlShards === 1 ? status.crl : shardUrls(status, { index: shardOf(serial, crlShards), count: crlShards })[0];
}
