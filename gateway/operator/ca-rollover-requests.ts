import { z } from 'zod';
import { giveUpSeconds } from './renewal-requests.ts';
import { page, words } from './request-fields.ts';

const keyId = z
  .string()
  .transform((text) => text.toLowerCase().replace(/:/g, ''))
  .pipe(z.string().regex(/^[0-9a-f]{40}$/, 'a key id is 40 hexadecimal digits'))
  .describe('key id of the replaced CA; left out: the only one');

/** What operators may send about the replacement of CAs. */
export const CA_ROLLOVER_REQUEST = {
  pageQuery: z.strictObject(page),
  announcement: z.strictObject({ reason: words(200).exactOptional() }),
  discard: z.strictObject({ reason: words(200).exactOptional() }),
  taint: z.strictObject({
    issuerKeyId: keyId.exactOptional(),
    reason: words(200).exactOptional(),
    withinSeconds: z
      .int()
      .min(1)
      .max(366 * 24 * 3600)
      .exactOptional()
      .describe('renewals spread over this long; longer when the rate needs it'),
    perMinute: z.int().min(1).max(1_000_000).exactOptional().describe('devices told a minute at most'),
    abortPercent: z.int().min(0).max(100).default(5).describe('renewals end when more of them have failed'),
    giveUpSeconds,
  }),
  retirement: z.strictObject({
    issuerKeyId: keyId.exactOptional(),
    force: z.boolean().default(false).describe('also while devices would be cut off; with a reason'),
    reason: words(200).exactOptional(),
  }),
} as const;
