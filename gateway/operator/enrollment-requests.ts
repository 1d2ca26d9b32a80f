import { isIP } from 'node:net';
import { z } from 'zod';
import {
  ATTEMPT_OUTCOMES,
  ENROLLMENT_GROUNDS,
  ENROLLMENT_REQUEST_STATES,
  KEY_KINDS,
  PROOF_LEVELS,
} from '#gateway/contract/operator-api.ts';
import { MAX_CLAIM_SECONDS, MAX_IMPORT_ENTRIES } from '#gateway/contract/operator-paths.ts';
import { der, deviceId, groupName, hardwareSerial, page, recordId, seconds, sha256, words } from './request-fields.ts';

const registrarName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'a name is 1 to 63 of A-Z a-z 0-9 . _ - and starts with a letter or digit',
  );

/** What operators may send about who may enroll and how it went. */
export const ENROLLMENT_REQUEST = {
  requestParams: z.strictObject({ requestId: recordId }),
  requestsQuery: z.strictObject({
    ...page,
    state: z.enum(ENROLLMENT_REQUEST_STATES).exactOptional(),
    group: groupName.exactOptional(),
  }),
  approval: z.strictObject({ note: words(200).exactOptional() }),
  refusal: z.strictObject({ reason: words(200).describe('the device is told') }),
  attemptParams: z.strictObject({ attemptId: recordId }),
  attemptsQuery: z.strictObject({
    ...page,
    deviceId: deviceId.exactOptional(),
    outcome: z.enum(ATTEMPT_OUTCOMES).exactOptional(),
  }),
  claim: z.strictObject({
    csr: der.describe('base64 of a PKCS#10 request in DER'),
    seconds: z.int().min(1).max(MAX_CLAIM_SECONDS).default(MAX_CLAIM_SECONDS),
  }),
  newManufacturer: z.strictObject({ certificate: der, note: words(200).exactOptional() }),
  manufacturersQuery: z.strictObject({ ...page, group: groupName.exactOptional() }),
  manufacturerParams: z.strictObject({ name: groupName, fingerprint: sha256 }),
  newRegistrar: z.strictObject({
    name: registrarName,
    groups: z.array(groupName).min(1).max(100),
    csr: der.describe('base64 of a PKCS#10 request in DER'),
    lifetimeSeconds: seconds.min(60).exactOptional(),
  }),
  registrarParams: z.strictObject({ name: registrarName }),
  newDevices: z.strictObject({
    entries: z
      .array(
        z.strictObject({
          deviceId,
          group: groupName.exactOptional(),
          hardwareSerial: hardwareSerial.exactOptional(),
          owner: words(200).exactOptional(),
          ekSha256: sha256.exactOptional().describe('its endorsement key, put on the allow list for this device'),
        }),
      )
      .min(1)
      .max(MAX_IMPORT_ENTRIES),
  }),
  groupTest: z.strictObject({
    deviceId: deviceId.exactOptional(),
    keyKind: z.enum(KEY_KINDS).exactOptional(),
    proofLevel: z.enum(PROOF_LEVELS).exactOptional(),
    address: z
      .string()
      .refine((text) => isIP(text) !== 0, 'an IP address')
      .exactOptional(),
    at: z.int().min(0).max(253_402_300_799_999).exactOptional().describe('milliseconds UTC'),
    grounds: z.enum(ENROLLMENT_GROUNDS).exactOptional(),
    bound: z.boolean().exactOptional().describe('whether the CSR is bound to its TLS session'),
    askWebhook: z.boolean().exactOptional(),
  }),
} as const;
