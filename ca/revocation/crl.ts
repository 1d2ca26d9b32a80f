import type { Der } from '#ca/pkix/der.ts';
import { bitString, enumerated, explicit, implicit, integer, sequence, time } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type RevocationReason, reasonCodeOf } from './reasons.ts';

/** One entry of revokedCertificates, DER. Written once per revocation and kept: a new CRL only joins them. */
export function formatRevokedEntry(entry: {
  /** Hexadecimal. */
  serial: string;
  /** Milliseconds UTC. */
  revokedAt: number;
  reason: RevocationReason;
}): Buffer {
  const serial = integer(Buffer.from(entry.serial, 'hex'));
  const revokedAt = time(entry.revokedAt);
  // RFC 5280 5.3.1: absent instead of unspecified.
  if (entry.reason === 'unspecified') return sequence(serial, revokedAt);
  return sequence(serial, revokedAt, reasonExtension(entry.reason));
}

const reasonExtensions = new Map<RevocationReason, Der>();

function reasonExtension(reason: RevocationReason): Der {
  const known = reasonExtensions.get(reason);
  if (known !== undefined) return known;
  const extensions = sequence(formatExtension(OID.reasonCode, false, enumerated(reasonCodeOf(reason))));
  reasonExtensions.set(reason, extensions);
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
  /** The entries one after the other; empty when there are none. */
  entries: Uint8Array;
};

/** TBSCertList (RFC 5280 5.1.2) in one pass over the entries. */
export function formatTbsCrl(template: CrlTemplate): Buffer {
  const { issuer, signatureAlgorithm, number, thisUpdate, nextUpdate, authorityKeyId, entries } = template;
  const extensions = sequence(
    formatExtension(OID.authorityKeyIdentifier, false, sequence(implicit(0, Buffer.from(authorityKeyId, 'hex')))),
    formatExtension(OID.crlNumber, false, integer(number)),
  );
  return sequence(
    integer(1),
    signatureAlgorithm,
    issuer,
    time(thisUpdate),
    time(nextUpdate),
    // RFC 5280 5.1.2.6: with no entries the list is absent, not empty.
    ...(entries.length === 0 ? [] : [sequence(entries)]),
    explicit(0, extensions),
  );
}

/** @param signature as the Signer gives it. */
export function formatCrl(tbs: Uint8Array, signatureAlgorithm: Uint8Array, signature: Uint8Array): Buffer {
  return sequence(tbs, signatureAlgorithm, bitString(signature));
}
