import { z } from 'zod';
import { AuthorityError, type IssuedPage, type LastList } from '#ca/ports/certificate-authority.ts';

/** Too much for the JSON beside an attachment, so the attachment itself: octets as base64. */
const issuedSchema = z.object({
  issued: z.array(z.object({ at: z.int().nonnegative(), der: z.base64() })),
  next: z.int().nonnegative(),
});

export function formatIssued({ issued, next }: IssuedPage): Buffer {
  const text = issued.map(({ at, der }) => ({ at, der: der.toString('base64') }));
  return Buffer.from(JSON.stringify({ issued: text, next } satisfies z.infer<typeof issuedSchema>));
}

/** @throws AuthorityError AUTHORITY_FAILED */
export function parseIssued(attachment: Buffer): IssuedPage {
  const page = issuedSchema.safeParse(jsonOf(attachment));
  if (!page.success) throw new AuthorityError('AUTHORITY_FAILED', 'the authority did not tell what it has issued');
  return {
    next: page.data.next,
    issued: page.data.issued.map(({ at, der }) => ({ at, der: Buffer.from(der, 'base64') })),
  };
}

const NUMBER_OCTETS = 8;

/** The number, then the list as it is. */
export function formatLastList({ number, der = Buffer.alloc(0) }: LastList): Buffer {
  const head = Buffer.alloc(NUMBER_OCTETS);
  head.writeBigUInt64BE(BigInt(number));
  return Buffer.concat([head, der]);
}

/** @throws AuthorityError AUTHORITY_FAILED */
export function parseLastList(attachment: Buffer): LastList {
  if (attachment.length < NUMBER_OCTETS)
    throw new AuthorityError('AUTHORITY_FAILED', 'the authority did not tell of its last list');
  const number = Number(attachment.readBigUInt64BE());
  const der = attachment.subarray(NUMBER_OCTETS);
  return der.length === 0 ? { number } : { number, der };
}

function jsonOf(attachment: Buffer): unknown {
  try {
    return JSON.parse(attachment.toString('utf8'));
  } catch {
    return undefined;
  }
}
