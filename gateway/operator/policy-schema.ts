import { z } from 'zod';
import { APPROVAL_RULES, GRACE_DECISIONS, KEY_KINDS, PROOF_LEVELS } from '#gateway/contract/operator-api.ts';
import { groupName, seconds, words } from './request-fields.ts';

/** Shapes and sizes; what a range, a window or a pattern means is judged where policies are. */
export const policyChange = z.strictObject({
  lifetimeSeconds: seconds.min(10).exactOptional(),
  overlapSeconds: seconds.min(0).exactOptional(),
  pendingLapseSeconds: seconds.min(1).exactOptional(),
  ticketSeconds: seconds.min(1).exactOptional(),
  keys: z.array(z.enum(KEY_KINDS)).min(1).max(KEY_KINDS.length).exactOptional(),
  proof: z.enum(PROOF_LEVELS).exactOptional(),
  publishProof: z.enum(PROOF_LEVELS).exactOptional(),
  readFrom: z.array(groupName).max(100).exactOptional(),
  owner: words(200).nullable().exactOptional(),
  approval: z.enum(APPROVAL_RULES).exactOptional(),
  binding: z.enum(['optional', 'required']).exactOptional(),
  networks: z.array(words(64)).max(100).exactOptional().describe('CIDR ranges; none: any'),
  hours: z.array(words(64)).max(50).exactOptional().describe('UTC, as Mon-Fri 08:00-18:00; none: always'),
  maxDevices: z.int().min(1).max(10_000_000).nullable().exactOptional(),
  maxPerHour: z.int().min(1).max(10_000_000).nullable().exactOptional(),
  deviceIdPattern: words(63).nullable().exactOptional().describe('* for any characters, ? for one'),
  requireOwner: z.boolean().exactOptional(),
  webhook: words(2000).nullable().exactOptional().describe('an https URL'),
  serverKeygen: z.boolean().exactOptional(),
  graceSeconds: seconds.min(0).exactOptional(),
  graceDecision: z.enum(GRACE_DECISIONS).exactOptional(),
  noRevAvailBelowSeconds: seconds.min(0).exactOptional(),
});
