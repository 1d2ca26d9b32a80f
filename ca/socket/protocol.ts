import { z } from 'zod';
import type { AuthorityErrorCode } from '#ca/ports/certificate-authority.ts';
import { isSerialNumber, type SerialNumber } from '#ca/ports/issuance-order.ts';

/** What goes over the authority's socket, as JSON beside one attachment of DER. Unknown fields are refused. */

const serial = z.custom<SerialNumber>(isSerialNumber, 'the serial number is not one');
const id = z.int().nonnegative();
const milliseconds = z.int().nonnegative();
const name = z.string().min(1).max(300);

const orderFields = { serial, lifetimeSeconds: z.int().positive() };

/** The public key (SPKI) is the attachment. */
const orderSchema = z.discriminatedUnion('profile', [
  z.strictObject({
    profile: z.literal('device'),
    deviceId: name,
    hardwareSerial: name.exactOptional(),
    proofLevel: z.enum(['tpm', 'tpm-endorsed']).exactOptional(),
    noRevAvail: z.boolean().exactOptional(),
    ...orderFields,
  }),
  z.strictObject({ profile: z.literal('device-bootstrap'), deviceId: name, ...orderFields }),
  z.strictObject({ profile: z.literal('registrar'), name, ...orderFields }),
  z.strictObject({
    profile: z.literal('gateway-server'),
    dnsNames: z.array(name).max(100),
    ipAddresses: z.array(name).max(100),
    ...orderFields,
  }),
  z.strictObject({ profile: z.literal('notice-signer'), ...orderFields }),
  z.strictObject({ profile: z.literal('ocsp-responder'), issuerKeyId: name.exactOptional(), ...orderFields }),
]);

const count = z.int().positive();
const scopeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('full'), hasDelta: z.boolean().exactOptional() }),
  z.strictObject({ kind: z.literal('shard'), index: z.int().nonnegative(), count }),
  z.strictObject({ kind: z.literal('delta'), baseNumber: count }),
]);

export const requestSchema = z.discriminatedUnion('method', [
  z.strictObject({ id, method: z.literal('describe') }),
  z.strictObject({ id, method: z.literal('issue'), order: orderSchema }),
  z.strictObject({ id, method: z.literal('findIssued'), serial }),
  z.strictObject({ id, method: z.literal('activateIssuer'), keyId: name }),
  z.strictObject({ id, method: z.literal('discardIssuer'), keyId: name }),
  z.strictObject({ id, method: z.literal('readIssued'), from: z.int().nonnegative() }),
  z.strictObject({ id, method: z.literal('lastList'), keyId: name }),
  /** The entries are the attachment. */
  z.strictObject({
    id,
    method: z.literal('signCrl'),
    scope: scopeSchema.exactOptional(),
    issuerKeyId: name.exactOptional(),
    number: count,
    thisUpdate: milliseconds,
    nextUpdate: milliseconds,
  }),
]);
export type Request = z.infer<typeof requestSchema>;
/** Without the id, which the connection gives. */
export type RequestBody = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never;

const ERROR_CODES = [
  'ORDER_MALFORMED',
  'PROFILE_UNKNOWN',
  'PROFILE_REFUSED',
  'LINT_FAILED',
  'SERIAL_REUSED',
  'CRL_REFUSED',
  'ISSUER_REFUSED',
  'JOURNAL_FAILED',
  'AUTHORITY_UNAVAILABLE',
  'AUTHORITY_FAILED',
] as const satisfies AuthorityErrorCode[];

const descriptionSchema = z.object({
  trustDomain: z.string(),
  rootCertificate: z.base64(),
  intermediateCertificate: z.base64(),
  lastCrlNumber: z.int().nonnegative(),
  crlShards: z.int().positive().exactOptional(),
  statusUrl: z.string().exactOptional(),
  journalLength: z.int().nonnegative().exactOptional(),
  issuers: z
    .array(
      z.object({
        keyId: z.string(),
        certificate: z.base64(),
        root: z.base64(),
        crossCertificates: z.array(z.base64()),
        isActive: z.boolean(),
      }),
    )
    .exactOptional(),
});
export type DescriptionJson = z.infer<typeof descriptionSchema>;

/** What was asked for is the attachment; empty: there is none. */
export const responseSchema = z.discriminatedUnion('ok', [
  z.object({ id, ok: z.literal(true), description: descriptionSchema.exactOptional() }),
  z.object({ id, ok: z.literal(false), code: z.enum(ERROR_CODES).catch('AUTHORITY_FAILED'), message: z.string() }),
]);
export type Response = z.infer<typeof responseSchema>;

/** Enough of a request that cannot be understood to answer it. */
export const requestHeadSchema = z.object({
  id,
  order: z.object({ profile: z.unknown() }).optional().catch(undefined),
});
