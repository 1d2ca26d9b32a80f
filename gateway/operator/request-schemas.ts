import { z } from 'zod';
import { parseRevocationReason, type RevocationReason } from '#ca/revocation/reasons.ts';
import { DEVICE_ID_RULE, isDeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { CERTIFICATE_STATES, DEVICE_STATES, KEY_KINDS, PROOF_LEVELS } from '#gateway/contract/operator-api.ts';

/** What operators may send. Unknown fields are refused: a misspelt one must not be taken for a default. */

const deviceId = z
  .string()
  .min(1)
  .max(63)
  .refine(isDeviceId, DEVICE_ID_RULE)
  .transform(parseDeviceId)
  .describe(DEVICE_ID_RULE);
const groupName = z.string().min(1).max(63);
/** A person's words, one line: they go into the audit, notices and certificates. */
const words = (length: number) =>
  z
    .string()
    .min(1)
    .max(length)
    .regex(/^\P{Cc}*$/u, 'control characters are not allowed');
const seconds = z.int().max(3650 * 24 * 3600);

const page = {
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  after: z.string().min(1).max(200).exactOptional(),
};

/**
 * RFC 5280 5.3.1. A hold would promise that the device comes back, and the CA reasons are for authorities, so neither
 * can be said of a device.
 */
const DEVICE_REASONS = [
  'unspecified',
  'keyCompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
] as const satisfies readonly RevocationReason[];
const revocationReason = z.preprocess(
  (value) => (typeof value === 'string' ? (parseRevocationReason(value) ?? value) : value),
  z.enum(DEVICE_REASONS),
);

const policyChange = z.strictObject({
  lifetimeSeconds: seconds.min(10).exactOptional(),
  overlapSeconds: seconds.min(0).exactOptional(),
  pendingLapseSeconds: seconds.min(1).exactOptional(),
  ticketSeconds: seconds.min(1).exactOptional(),
  keys: z.array(z.enum(KEY_KINDS)).min(1).max(KEY_KINDS.length).exactOptional(),
  proof: z.enum(PROOF_LEVELS).exactOptional(),
  publishProof: z.enum(PROOF_LEVELS).exactOptional(),
  readFrom: z.array(groupName).max(100).exactOptional(),
  owner: words(200).nullable().exactOptional(),
});

const sha256 = z
  .string()
  .transform((text) => text.toLowerCase().replace(/:/g, ''))
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 is 64 hexadecimal digits'));
/** In one request; a longer list comes in several. */
const MAX_ALLOWED_EKS = 200;

export const REQUEST = {
  nothing: z.strictObject({}),
  deviceParams: z.strictObject({ deviceId }),
  groupParams: z.strictObject({ name: groupName }),
  serialParams: z.strictObject({ serial: z.string().regex(/^(0x)?[0-9A-Fa-f:]{1,60}$/, 'a serial is hexadecimal') }),
  ticketParams: z.strictObject({ ticketId: z.string().min(1).max(64) }),
  pageQuery: z.strictObject(page),
  devicesQuery: z.strictObject({
    ...page,
    group: groupName.exactOptional(),
    state: z.enum(DEVICE_STATES).exactOptional(),
  }),
  certificatesQuery: z.strictObject({
    ...page,
    state: z.enum(CERTIFICATE_STATES).exactOptional(),
    deviceId: deviceId.exactOptional(),
  }),
  auditQuery: z.strictObject({
    ...page,
    subject: z.string().min(1).max(200).exactOptional(),
    action: z.string().min(1).max(64).exactOptional(),
    attemptId: z.string().min(1).max(64).exactOptional(),
    since: z.coerce.number().int().min(0).exactOptional().describe('milliseconds UTC'),
  }),
  newDevice: z.strictObject({
    deviceId,
    group: groupName.exactOptional(),
    // X.520 serialNumber is a PrintableString of at most 64 characters.
    hardwareSerial: z
      .string()
      .regex(/^[A-Za-z0-9 '()+,./:=?-]{1,64}$/, "1 to 64 of A-Z a-z 0-9 space ' ( ) + , - . / : = ?")
      .exactOptional(),
    owner: words(200).exactOptional(),
  }),
  revocation: z.strictObject({ reason: revocationReason }),
  retirement: z.strictObject({ reason: revocationReason.default('cessationOfOperation') }),
  renewal: z.strictObject({ reason: words(200).exactOptional() }),
  fingerprintParams: z.strictObject({ fingerprint: sha256 }),
  newTpmRoot: z.strictObject({
    certificate: z
      .base64()
      .max(32 * 1024)
      .transform((text) => Buffer.from(text, 'base64'))
      .describe('base64 of the DER'),
    kind: z.enum(['root', 'intermediate']).exactOptional().describe('left out: root when it is self-signed'),
    note: words(200).exactOptional(),
  }),
  allowedEks: z.strictObject({
    entries: z
      .array(
        z.strictObject({
          ekSha256: sha256.describe('SHA-256 of the SubjectPublicKeyInfo of the endorsement key'),
          deviceId: deviceId.exactOptional(),
          note: words(200).exactOptional(),
        }),
      )
      .min(1)
      .max(MAX_ALLOWED_EKS),
  }),
  newGroup: z.strictObject({ name: groupName, policy: policyChange.default({}) }),
  policyChange,
} as const;
