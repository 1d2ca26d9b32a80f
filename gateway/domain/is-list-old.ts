import type { PublishedList } from './status-change.ts';

/** A CRL is replaced after this share of its life, so that relying parties survive several failed builds. */
const CRL_PERIODS_VALID = 8;
/** Further ahead than this a CRL was made by a clock that was wrong. */
export const CLOCK_TOLERANCE_MS = 5 * 60_000;
/** The extensions of a list, at its end, and the signature after them. */
const TAIL = 8192;

/**
 * Whether a list is to be made anew although nothing has changed.
 * @param facts.crlValidity milliseconds a list is good for
 * @param facts.statusUrl base of the URLs in what is certified now; undefined: not known
 */
export function isListOld(
  list: Pick<PublishedList, 'scope' | 'der' | 'thisUpdate'>,
  { now, crlValidity, statusUrl }: { now: number; crlValidity: number; statusUrl: string | undefined },
): boolean {
  if (statusUrl !== undefined && !isAt(list, statusUrl)) return true;
  const age = now - list.thisUpdate;
  return age >= crlValidity / CRL_PERIODS_VALID || age < -CLOCK_TOLERANCE_MS;
}

/**
 * Whether certificates that are issued now name this list: when the status server has moved, a shard of before is not theirs
 * (RFC 5280 6.3.3 b 2 i), and programs that check would refuse them.
 */
function isAt({ scope, der }: Pick<PublishedList, 'scope' | 'der'>, statusUrl: string): boolean {
  return !scope.startsWith('shard-') || der.subarray(-TAIL).includes(`${statusUrl}/crl/`);
}
