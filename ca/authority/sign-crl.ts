import { hash } from 'node:crypto';
import type { Issuer } from '#ca/issuance/issuer.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { AuthorityError, type CrlOrder } from '#ca/ports/certificate-authority.ts';
import type { Journal } from '#ca/ports/journal.ts';
import type { Signer } from '#ca/ports/signer.ts';
import { formatCrl, formatTbsCrl } from '#ca/revocation/crl.ts';
import { lintRevokedEntries } from '#ca/revocation/revoked-entries.ts';

export type SignCrlDeps = { signer: Signer; journal: Journal; issuer: Issuer; clock: () => number };

const DAY = 24 * 60 * 60 * 1000;
/** A thisUpdate far ahead would make every honest CRL after it look older and be refused. */
const MAX_AHEAD = 5 * 60 * 1000;
/** A list good for years would hide every revocation from whoever holds it. */
const MAX_VALIDITY = 400 * DAY;
/** A leap to the end of the numbers would leave none for the next list. */
const MAX_LEAP = 1_000_000_000;

/**
 * Check, join, sign, record, and only then give it away. To be called once at a time.
 * @returns DER of the CRL
 * @throws AuthorityError CRL_REFUSED when number or times do not go forward, or an entry is not one
 */
export async function signCrl(deps: SignCrlDeps, order: CrlOrder): Promise<Buffer> {
  const { journal, signer, issuer, clock } = deps;
  checkOrder(order, journal.lastCrl(), clock());
  const tbs = formatTbsCrl({
    ...order,
    issuer: issuer.certificate.subject,
    signatureAlgorithm: issuer.signatureAlgorithm,
    authorityKeyId: issuer.keyId,
  });
  const der = formatCrl(tbs, issuer.signatureAlgorithm, await signer.sign(tbs));
  const { number, thisUpdate } = order;
  await journal.append({ kind: 'crl', at: clock(), number, thisUpdate, sha256: hash('sha256', der, 'hex') });
  return der;
}

function checkOrder(order: CrlOrder, last: { number: number; thisUpdate: number }, now: number): void {
  const { number, thisUpdate, nextUpdate, entries } = order;
  const areIntegers = [number, thisUpdate, nextUpdate].every((value) => Number.isSafeInteger(value));
  refuseUnless(areIntegers, 'number and times are integers');
  // RFC 5280 5.2.3: numbers rise; a list that goes back would bring revoked certificates back.
  refuseUnless(number > last.number, `the number must be above ${last.number}`);
  refuseUnless(number <= last.number + MAX_LEAP, `the number leaps too far from ${last.number}`);
  // A last one from the future was made by a wrong clock: to wait until it is past would leave everybody without a
  // list. Its number still counts.
  const lastUpdate = last.thisUpdate > now + MAX_AHEAD ? 0 : last.thisUpdate;
  refuseUnless(thisUpdate >= lastUpdate + 1000, 'thisUpdate must be a second or more after the last one');
  refuseUnless(thisUpdate <= now + MAX_AHEAD, 'thisUpdate lies in the future: check the clocks');
  const validity = nextUpdate - thisUpdate;
  refuseUnless(
    validity >= 1000 && validity <= MAX_VALIDITY,
    'nextUpdate must be 1 second to 400 days after thisUpdate',
  );
  try {
    lintRevokedEntries(entries);
  } catch (cause) {
    if (cause instanceof PkixError) throw new AuthorityError('CRL_REFUSED', cause.message, { cause });
    throw cause;
  }
}

function refuseUnless(holds: boolean, reason: string): void {
  if (!holds) throw new AuthorityError('CRL_REFUSED', reason);
}
