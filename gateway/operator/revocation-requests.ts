import { z } from 'zod';
import { parseRevocationReason, type RevocationReason } from '#ca/revocation/reasons.ts';
import {
  REVOCATION_JOB_ITEM_STATES,
  REVOCATION_JOB_STATES,
  REVOCATION_SCOPES,
} from '#gateway/contract/operator-api.ts';
import { MAX_REVOCATION_RATE } from '#gateway/contract/revocation-api.ts';
import { page, recordId, words } from './request-fields.ts';

/** RFC 5280 5.3.1. Those of authorities are taken for an issuer alone; a hold is an order of its own. */
const REASONS = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
  'aACompromise',
] as const satisfies readonly RevocationReason[];

const reason = z.preprocess(
  (value) => (typeof value === 'string' ? (parseRevocationReason(value) ?? value) : value),
  z.enum(REASONS),
);

const target = {
  scope: z.enum(REVOCATION_SCOPES),
  target: words(200).describe(
    'device id; serial; name of a group; SHA-256 of a public key; serial of any certificate of a lineage; key id of an issuer',
  ),
};

const rate = z.int().min(1).max(MAX_REVOCATION_RATE).describe('certificates per second; left out: as fast as it goes');

/** What operators may send to revoke, hold and release. */
export const REVOCATION_REQUEST = {
  order: z.strictObject({ ...target, reason, rate: rate.exactOptional() }),
  plan: z.strictObject(target),
  jobParams: z.strictObject({ jobId: recordId }),
  jobsQuery: z.strictObject({ ...page, state: z.enum(REVOCATION_JOB_STATES).exactOptional() }),
  itemsQuery: z.strictObject({ ...page, state: z.enum(REVOCATION_JOB_ITEM_STATES).exactOptional() }),
  resumption: z.strictObject({ rate: rate.exactOptional() }),
  hold: z.strictObject({ reason: words(200).describe('the device is told') }),
} as const;
