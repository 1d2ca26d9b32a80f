import { z } from 'zod';
import { parseRevocationReason, type RevocationReason } from '#ca/revocation/reasons.ts';
import { CERTIFICATE_STATES, DEVICE_STATES } from '#gateway/contract/operator-api.ts';
import { policyChange } from './policy-schema.ts';
import { der, deviceId, groupName, hardwareSerial, page, recordId, sha256, words } from './request-fields.ts';

/** What operators may send. Unknown fields are refused: a misspelt one must not be taken for a default. */

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

/** In one request; a longer list comes in several. */
const MAX_ALLOWED_EKS = 200;

export const REQUEST = {
  deviceParams: z.strictObject({ deviceId }),
  groupParams: z.strictObject({ name: groupName }),
  serialParams: z.strictObject({ serial: z.string().regex(/^(0x)?[0-9A-Fa-f:]{1,60}$/, 'a serial is hexadecimal') }),
  ticketParams: z.strictObject({ ticketId: recordId }),
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
    attemptId: recordId.exactOptional(),
    since: z.coerce.number().int().min(0).exactOptional().describe('milliseconds UTC'),
  }),
  newDevice: z.strictObject({
    deviceId,
    group: groupName.exactOptional(),
    hardwareSerial: hardwareSerial.exactOptional(),
    owner: words(200).exactOptional(),
  }),
  newHardware: z.strictObject({
    hardwareSerial: hardwareSerial.nullable().exactOptional().describe('null: it has none; left out: as before'),
  }),
  revocation: z.strictObject({ reason: revocationReason }),
  retirement: z.strictObject({ reason: revocationReason.default('cessationOfOperation') }),
  renewal: z.strictObject({ reason: words(200).exactOptional() }),
  fingerprintParams: z.strictObject({ fingerprint: sha256 }),
  newTpmRoot: z.strictObject({
    certificate: der,
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
