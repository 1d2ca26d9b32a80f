import { subtle } from 'node:crypto';
import { type Issuer, shardUrls } from '#ca/issuance/issuer.ts';
import { MAX_CRL_SHARDS } from '#ca/pkix/crl-shard.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { AuthorityError, type CrlOrder } from '#ca/ports/certificate-authority.ts';
import type { Journal } from '#ca/ports/journal.ts';
import type { KeptLists } from '#ca/ports/kept-lists.ts';
import type { Signer } from '#ca/ports/signer.ts';
import { type CrlTemplate, formatCrl, formatTbsCrl } from '#ca/revocation/crl.ts';
import { type CrlScope, formatCrlScope } from '#ca/revocation/crl-scope.ts';
import { lintRevokedEntries } from '#ca/revocation/revoked-entries.ts';

export type SignCrlDeps = {
  signer: Signer;
  journal: Journal;
  issuer: Issuer;
  clock: () => number;
  /** Left out: a list is only told apart by its hash afterwards. */
  lists?: KeptLists | undefined;
};

const DAY = 24 * 60 * 60 * 1000;
/** A thisUpdate far ahead would make every honest CRL after it look older and be refused. */
const MAX_AHEAD = 5 * 60 * 1000;
/** A list good for years would hide every revocation from whoever holds it. */
const MAX_VALIDITY = 400 * DAY;
/** A leap to the end of the numbers would leave none for the next list. */
const MAX_LEAP = 1_000_000_000;

/** Entries looked at before orders for certificates get their turn: about a millisecond. */
const SLICE = 2_000;

const WHOLE: CrlScope = { kind: 'full' };

/**
 * Check, join, sign, record, and only then give it away. To be called once at a time. What is long about a long list
 * (looking through its entries, hashing) is done in slices or on another thread, so that orders for certificates that
 * come meanwhile do not wait for it.
 * @returns DER of the CRL
 * @throws AuthorityError CRL_REFUSED when number or times do not go forward, or an entry is not one
 */
export async function signCrl(deps: SignCrlDeps, order: CrlOrder): Promise<Buffer> {
  const { journal, signer, issuer, clock } = deps;
  const { scope = WHOLE, number, thisUpdate, entries } = order;
  refuseUnless(
    order.issuerKeyId === undefined || order.issuerKeyId === issuer.keyId,
    'the issuer is not one of this authority',
  );
  const scopeName = `${formatCrlScope(scope)}@${issuer.keyId}`;
  checkTimes(order, journal.lastCrl(scopeName), clock());
  checkScope(scope, number);
  await checkEntries(entries, scope);
  const tbs = formatTbsCrl({
    ...scopeFields(scope, issuer),
    number,
    thisUpdate,
    nextUpdate: order.nextUpdate,
    entries,
    issuer: issuer.certificate.subject,
    signatureAlgorithm: issuer.signatureAlgorithm,
    authorityKeyId: issuer.keyId,
  });
  const der = formatCrl(tbs, issuer.signatureAlgorithm, await signer.sign(tbs));
  const sha256 = Buffer.from(await subtle.digest('SHA-256', der)).toString('hex');
  const kept = scope.kind === 'full' ? deps.lists : undefined;
  await kept?.keep(scopeName, number, der);
  await journal.append({ kind: 'crl', at: clock(), number, thisUpdate, scope: scopeName, sha256 });
  await kept?.dropBefore(scopeName, number);
  return der;
}

function scopeFields(
  scope: CrlScope,
  { status }: Issuer,
): Pick<CrlTemplate, 'distributionPoints' | 'baseNumber' | 'freshestCrl'> {
  switch (scope.kind) {
    case 'full':
      // Nowhere to find a delta list, nothing to say about it.
      return scope.hasDelta === true && status !== undefined ? { freshestCrl: status.deltaCrl } : {};
    case 'delta':
      return { baseNumber: scope.baseNumber };
    case 'shard': {
      if (status === undefined) throw refused('without a status URL there are no shards');
      return { distributionPoints: shardUrls(status, scope) };
    }
  }
}

function checkTimes(order: CrlOrder, last: { number: number; thisUpdate: number }, now: number): void {
  const { number, thisUpdate, nextUpdate } = order;
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
}

function checkScope(scope: CrlScope, number: number): void {
  switch (scope.kind) {
    case 'full':
      return;
    case 'delta':
      // RFC 5280 5.2.4: the base came before it.
      refuseUnless(
        Number.isSafeInteger(scope.baseNumber) && scope.baseNumber > 0 && scope.baseNumber < number,
        'the base of a delta list has a lower number',
      );
      return;
    case 'shard': {
      const { index, count } = scope;
      const isOne = Number.isSafeInteger(count) && count > 1 && count <= MAX_CRL_SHARDS;
      refuseUnless(isOne && Number.isSafeInteger(index) && index >= 0 && index < count, 'there is no such shard');
    }
  }
}

async function checkEntries(entries: Buffer, scope: CrlScope): Promise<void> {
  try {
    for (let at = 0; at < entries.length; ) {
      at = lintRevokedEntries(entries, { isDelta: scope.kind === 'delta', from: at, most: SLICE }).end;
      if (at < entries.length) await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (cause) {
    if (cause instanceof PkixError) throw refused(cause.message, cause);
    throw cause;
  }
}

function refuseUnless(holds: boolean, reason: string): void {
  if (!holds) throw refused(reason);
}

function refused(reason: string, cause?: unknown): AuthorityError {
  return new AuthorityError('CRL_REFUSED', reason, { cause });
}
