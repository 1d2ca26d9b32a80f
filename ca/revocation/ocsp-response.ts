import type { Der } from '#ca/pkix/der.ts';
import { bitString, enumerated, explicit, implicit, octetString, oid, sequence, TAG, tlv } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import { type RevocationReason, reasonCodeOf } from './reasons.ts';

/** RFC 6960 4.2.1 */
export type CertStatus =
  | { kind: 'good' }
  /** `at` in milliseconds UTC. */
  | { kind: 'revoked'; at: number; reason: RevocationReason }
  | { kind: 'unknown' };

export type OcspResponseTemplate = {
  /** SHA-1 of the responder's public key, without tag, length and unused bits. */
  responderKeyHash: Uint8Array;
  /** Milliseconds UTC, written in whole seconds. */
  producedAt: number;
  thisUpdate: number;
  nextUpdate: number;
  /** `certId` as the request had it, DER. */
  answers: readonly { certId: Uint8Array; status: CertStatus }[];
  nonce?: Uint8Array;
};

/** ResponseData (RFC 6960 4.2.1), which is what is signed. */
export function formatOcspResponseData(template: OcspResponseTemplate): Der {
  const { responderKeyHash, producedAt, thisUpdate, nextUpdate, answers, nonce } = template;
  const from = generalizedTime(thisUpdate);
  // RFC 9919 3.2.4: always there, or nobody could keep the answer.
  const until = explicit(0, generalizedTime(nextUpdate));
  const singles = answers.map(({ certId, status }) => sequence(certId, formatStatus(status), from, until));
  return sequence(
    explicit(2, octetString(responderKeyHash)),
    generalizedTime(producedAt),
    sequence(...singles),
    ...(nonce === undefined ? [] : [explicit(1, sequence(formatExtension(OID.ocspNonce, false, octetString(nonce))))]),
  );
}

const GOOD = implicit(0, Buffer.alloc(0));
const UNKNOWN = implicit(2, Buffer.alloc(0));

function formatStatus(status: CertStatus): Der {
  switch (status.kind) {
    case 'good':
      return GOOD;
    case 'unknown':
      return UNKNOWN;
    case 'revoked': {
      const { at, reason } = status;
      const parts = [generalizedTime(at)];
      // As in a CRL: absent instead of unspecified.
      if (reason !== 'unspecified') parts.push(explicit(0, enumerated(reasonCodeOf(reason))));
      return implicit(1, Buffer.concat(parts), { constructed: true });
    }
  }
}

/** OCSP has GeneralizedTime only. */
function generalizedTime(ms: number): Der {
  return tlv(TAG.generalizedTime, Buffer.from(new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, ''), 'latin1'));
}

/**
 * OCSPResponse with a BasicOCSPResponse (RFC 6960 4.2.1).
 * @param certificate of the responder, DER
 */
export function formatOcspResponse(
  data: Uint8Array,
  signatureAlgorithm: Uint8Array,
  signature: Uint8Array,
  certificate: Uint8Array,
): Der {
  const basic = sequence(data, signatureAlgorithm, bitString(signature), explicit(0, sequence(certificate)));
  return sequence(enumerated(0), explicit(0, sequence(oid(OID.ocspBasic), octetString(basic))));
}

/** RFC 6960 4.2.1: an answer that nobody signed. */
const ERRORS = { malformedRequest: 1, internalError: 2, tryLater: 3, unauthorized: 6 } as const;
export type OcspErrorName = keyof typeof ERRORS;

export function formatOcspError(error: OcspErrorName): Der {
  return sequence(enumerated(ERRORS[error]));
}
