import { readCommonNames } from '#ca/pkix/common-names.ts';
import { type CertificateRequest, parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import { readDer } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { type KeyKind, spkiSha256 } from '#ca/pkix/public-key.ts';
import type { GroupPolicy } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import { isLikeTicket } from '#gateway/domain/ticket.ts';

export type AcceptedCsr = { request: CertificateRequest; keyKind: KeyKind; spkiSha256: string };

/**
 * A CSR whose sender has shown possession of the key, of a kind the group allows, and that asks for nothing a device
 * may not have (RFC 7030 4.2: the signature is always checked). What it asks for beyond the key is never copied.
 * @throws GatewayError CSR_MALFORMED, CSR_SIGNATURE_INVALID, CSR_ASKS_FOR_CA, CSR_NAMES_ANOTHER or KEY_NOT_ALLOWED
 */
export function readCsr(der: Buffer, policy: Pick<GroupPolicy, 'keys'>): AcceptedCsr {
  const request = parseRequest(der);
  const { keyKind } = request;
  // The key first: checking a signature with a key nobody allowed would be work for a stranger.
  if (keyKind === undefined || !policy.keys.includes(keyKind)) {
    throw new GatewayError(
      'KEY_NOT_ALLOWED',
      `the key is ${request.keyDescription}; allowed here: ${policy.keys.join(', ')}`,
    );
  }
  if (!verifyCsrSignature(request)) {
    throw new GatewayError(
      'CSR_SIGNATURE_INVALID',
      'the CSR is not signed by the key it carries; make a new CSR with the private key',
    );
  }
  requireModest(request);
  return { request, keyKind, spkiSha256: spkiSha256(request.publicKey) };
}

/**
 * A CSR whose key and signature mean nothing (RFC 7030 4.4.1).
 * @throws GatewayError CSR_MALFORMED, CSR_ASKS_FOR_CA, CSR_NAMES_ANOTHER
 * @returns the kind of its key, when it is one that is certified here
 */
export function readUnsignedCsr(der: Buffer): { request: CertificateRequest; keyKind: KeyKind | undefined } {
  const request = parseRequest(der);
  requireModest(request);
  return { request, keyKind: request.keyKind };
}

/** Most of what is asked for beyond the key is passed over; what would make the certificate another one is refused. */
function requireModest({ asksForCa, attributes }: CertificateRequest): void {
  if (asksForCa) {
    throw new GatewayError(
      'CSR_ASKS_FOR_CA',
      'the CSR asks for CA rights, which no device gets; leave basicConstraints and keyCertSign out',
    );
  }
  // Names come from the record of the device: whoever asks for another one here would get the old one without a word.
  if (attributes.has(OID.changeSubjectName)) {
    throw new GatewayError(
      'CSR_NAMES_ANOTHER',
      'the CSR asks for a change of its name (ChangeSubjectName), which only an operator makes; leave that attribute out',
    );
  }
}

function parseRequest(der: Buffer): CertificateRequest {
  try {
    return parseCsr(der);
  } catch (cause) {
    const why = cause instanceof PkixError ? cause.message : 'it cannot be read';
    throw new GatewayError('CSR_MALFORMED', `this is not a PKCS#10 request in DER: ${why}`, { cause });
  }
}

/**
 * A first CSR may leave its subject empty or name the device; naming another one is refused, because whoever wrote it
 * expects a certificate it will not get.
 * @throws GatewayError CSR_NAMES_ANOTHER
 */
export function requireOwnName(request: CertificateRequest, deviceId: string, trustDomain: string): void {
  const own = `spiffe://${trustDomain}/device/${deviceId}`;
  let names: string[];
  try {
    names = [...readCommonNames(request.subject), ...readUris(request.subjectAltName)];
  } catch (cause) {
    throw new GatewayError('CSR_MALFORMED', 'the subject or subjectAltName of the CSR cannot be read', { cause });
  }
  const foreign = names.find((name) => name !== deviceId && name !== own);
  if (foreign !== undefined) {
    // This is kept and shown: who has taken ticket and device id for each other has put a ticket here.
    const said = isLikeTicket(foreign) ? 'something like a ticket' : `"${foreign.slice(0, 80)}"`;
    throw new GatewayError(
      'CSR_NAMES_ANOTHER',
      `the CSR names ${said}, but this device is "${deviceId}"; leave the subject empty or use CN=${deviceId}`,
    );
  }
}

const URI_NAME = 0x86;

function readUris(subjectAltName: Buffer | undefined): string[] {
  if (subjectAltName === undefined) return [];
  return readDer(subjectAltName)
    .children()
    .filter((name) => name.tag === URI_NAME)
    .map((name) => name.content.toString('latin1'));
}
