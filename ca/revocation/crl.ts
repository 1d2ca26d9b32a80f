import type { Der } from '#ca/pkix/der.ts';
import { bitString, boolean, enumerated, explicit, implicit, integer, sequence, time } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { REMOVE_FROM_CRL, type RevocationReason, reasonCodeOf } from './reasons.ts';

/** One entry of revokedCertificates, DER. Written once per revocation and kept: a new CRL only joins them. */
export function formatRevokedEntry(entry: {
  /** Hexadecimal. */
  serial: string;
  /** Milliseconds UTC. */
  revokedAt: number;
  /** `removeFromCRL`: in delta lists, for what is no longer on hold. */
  reason: RevocationReason | 'removeFromCRL';
}): Buffer {
  const serial = integer(Buffer.from(entry.serial, 'hex'));
  const revokedAt = time(entry.revokedAt);
  // RFC 5280 5.3.1: absent instead of unspecified.
  if (entry.reason === 'unspecified') return sequence(serial, revokedAt);
  const code = entry.reason === 'removeFromCRL' ? REMOVE_FROM_CRL : reasonCodeOf(entry.reason);
  return sequence(serial, revokedAt, reasonExtension(code));
}

const reasonExtensions = new Map<number, Der>();

function reasonExtension(code: number): Der {
  const known = reasonExtensions.get(code);
  if (known !== undefined) return known;
  const extensions = sequence(formatExtension(OID.reasonCode, false, enumerated(code)));
  reasonExtensions.set(code, extensions);
  return extensions;
}

export type CrlTemplate = {
  /** Name, DER. */
  issuer: Uint8Array;
  /** AlgorithmIdentifier, DER. */
  signatureAlgorithm: Uint8Array;
  number: number;
  /** Milliseconds UTC. */
  thisUpdate: number;
  nextUpdate: number;
  /** Subject key id of the issuer, lower-case hexadecimal. */
  authorityKeyId: string;
  /** Of a shard: its URLs, byte for byte as in the distribution points of the certificates it covers. */
  distributionPoints?: readonly string[];
  /** Of a delta list: number of the complete list it goes on from. */
  baseNumber?: number;
  /** Of a complete list: URL of the delta list. */
  freshestCrl?: string;
  /** The entries one after the other; empty when there are none. */
  entries: Uint8Array;
};

/** TBSCertList (RFC 5280 5.1.2) in one pass over the entries. */
export function formatTbsCrl(template: CrlTemplate): Buffer {
  const { issuer, signatureAlgorithm, thisUpdate, nextUpdate, entries } = template;
  return sequence(
    integer(1),
    signatureAlgorithm,
    issuer,
    time(thisUpdate),
    time(nextUpdate),
    // RFC 5280 5.1.2.6: with no entries the list is absent, not empty.
    ...(entries.length === 0 ? [] : [sequence(entries)]),
    explicit(0, sequence(...formatCrlExtensions(template))),
  );
}

function formatCrlExtensions(template: CrlTemplate): Der[] {
  const { number, authorityKeyId, distributionPoints, baseNumber, freshestCrl } = template;
  const extensions = [
    formatExtension(OID.authorityKeyIdentifier, false, sequence(implicit(0, Buffer.from(authorityKeyId, 'hex')))),
    formatExtension(OID.crlNumber, false, integer(number)),
  ];
  if (baseNumber !== undefined) {
    // RFC 5280 5.2.4: critical, or a delta list would be taken for the whole one.
    extensions.push(formatExtension(OID.deltaCrlIndicator, true, integer(baseNumber)));
  }
  if (distributionPoints !== undefined) {
    extensions.push(
      formatExtension(OID.issuingDistributionPoint, true, formatIssuingDistributionPoint(distributionPoints)),
    );
  }
  if (freshestCrl !== undefined) {
    extensions.push(formatExtension(OID.freshestCrl, false, sequence(formatDistributionPoint(freshestCrl))));
  }
  return extensions;
}

/** RFC 5280 5.2.5: never empty; onlyContainsUserCerts, because CA certificates are listed by the root. */
function formatIssuingDistributionPoint(urls: readonly string[]): Der {
  const onlyContainsUserCerts = implicit(1, boolean(true).subarray(2));
  return sequence(formatPointName(urls), onlyContainsUserCerts);
}

/** DistributionPoint (RFC 5280 4.2.1.13) with one URL and nothing else. @param url printable ASCII */
function formatDistributionPoint(url: string): Der {
  return sequence(formatPointName([url]));
}

/** One point under several names: a certificate and a list fit when they share one of them (RFC 5280 6.3.3 b 2 i). */
function formatPointName(urls: readonly string[]): Der {
  const names = urls.map((url) => implicit(6, Buffer.from(url, 'latin1')));
  return implicit(0, implicit(0, Buffer.concat(names), { constructed: true }), { constructed: true });
}

/** @param signature as the Signer gives it. */
export function formatCrl(tbs: Uint8Array, signatureAlgorithm: Uint8Array, signature: Uint8Array): Buffer {
  return sequence(tbs, signatureAlgorithm, bitString(signature));
}
