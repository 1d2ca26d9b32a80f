import { parseRevocationReason, REMOVE_FROM_CRL, reasonCodeOf } from '#ca/revocation/reasons.ts';
import {
  MAX_CRL_ISSUERS,
  MAX_FLEET_NOTICE_BYTES,
  type Notice,
  type RevocationsBody,
} from '#gateway/contract/notice.ts';
import { FLEET_TOPICS } from '#gateway/contract/topics.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { NoticeSigner } from '#gateway/ports/notice-signer.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store } from '#gateway/ports/store.ts';

export type TellFleetDeps = {
  store: Store;
  broker: Broker;
  signer: NoticeSigner;
  clock: Clock;
  random: Randomness;
  /** Where the complete CRL of an issuer is fetched. @param keyId its subject key id, lower-case hexadecimal */
  crlUrlOf(keyId: string): string;
  /** The newest CRL of each root, by which whoever checks a whole chain judges our CAs; left out: none is known. */
  readRootCrls?: () => Promise<readonly CompleteCrl[]>;
  /** Milliseconds a CRL, and so the notice of it, is good for. */
  crlValidity: number;
};

/** `keyId`: of the issuer, lower-case hexadecimal; `number`: the CRL number. */
export type CompleteCrl = { keyId: string; number: number };

type ToldCrl = Pick<RevocationsBody, 'crlNumber' | 'crlUrl' | 'issuers'>;

/** More would not fit, however short its serials are. */
const MOST_ENTRIES = 1000;

/**
 * Publishes the retained, signed notice of what was revoked: all that is in force when it fits, else the newest
 * changes that do. Costs what is told, never what was ever revoked. To be called after each CRL, and also when one
 * could not be made: subscribers then know sooner than their CRL does.
 * @param complete the newest CRL of each issuer that can be fetched, that of the one in use first
 * @param options.isWhole false: that of an issuer whose certificates may be valid is missing, and must not be taken for
 * one that has none any more
 */
export async function tellFleet(
  deps: TellFleetDeps,
  complete: readonly CompleteCrl[],
  { isWhole = true }: { isWhole?: boolean } = {},
): Promise<void> {
  const { broker, signer, clock, random, crlValidity } = deps;
  const ofRoots = (await deps.readRootCrls?.()) ?? [];
  const issuers = [...complete, ...ofRoots]
    .slice(0, MAX_CRL_ISSUERS)
    .map(({ keyId, number }) => ({ keyId, crlNumber: number, crlUrl: deps.crlUrlOf(keyId) }));
  const [inUse] = issuers;
  if (inUse === undefined || complete.length === 0) return;
  const crl: ToldCrl = { ...inUse, ...(isWhole ? { issuers } : {}) };
  const { crlNumber } = inUse;
  const now = clock.now();
  const sign = (body: RevocationsBody): string => {
    const notice: Notice = {
      version: 1,
      id: random.id('n'),
      deviceId: '*',
      // The CRL number only rises, also across restores: the authority remembers it.
      seq: crlNumber,
      issuedAt: now,
      expiresAt: now + crlValidity,
      kind: 'revocations',
      body,
    };
    return signer.sign(notice);
  };
  const all = await readAllInForce(deps, crl, now);
  const whole = all && sign(all);
  const fits = whole !== undefined && whole.length <= MAX_FLEET_NOTICE_BYTES;
  const token = fits ? whole : fit(await readNewestChanges(deps, crl), sign);
  broker.publishFleet(FLEET_TOPICS.revocations, token);
}

/** @returns undefined when there are too many to be told at once. */
async function readAllInForce(
  { store }: TellFleetDeps,
  { crlNumber, crlUrl, issuers }: ToldCrl,
  now: number,
): Promise<RevocationsBody | undefined> {
  // Before the list: what comes in between may then be told twice, and is never missed.
  const seq = await store.read.statusChanges.newestSeq();
  const inForce = await store.read.revocations.listForCrl(now, { limit: MOST_ENTRIES + 1 });
  if (inForce.length > MOST_ENTRIES) return undefined;
  const entries = inForce
    .toSorted((a, b) => b.revokedAt - a.revokedAt)
    .map(({ serial, reason, revokedAt }) => formatEntry(serial, codeOf(reason), revokedAt));
  return { crlNumber, seq, full: true, since: 0, entries, crlUrl, ...(issuers && { issuers }) };
}

/** A list of changes, newest first, and the number of each. */
type Changes = { body: RevocationsBody; seqs: number[] };

async function readNewestChanges({ store }: TellFleetDeps, { crlNumber, crlUrl, issuers }: ToldCrl): Promise<Changes> {
  const newest = await store.read.statusChanges.newestSeq();
  const since = Math.max(0, newest - MOST_ENTRIES);
  const changes = (await store.read.statusChanges.listAfter(since, 2 * MOST_ENTRIES)).toReversed();
  const seq = changes[0]?.seq ?? newest;
  const entries = changes.map(({ serial, change, reason, at }) =>
    formatEntry(serial, change === 'released' ? REMOVE_FROM_CRL : codeOf(reason), at),
  );
  return {
    body: { crlNumber, seq, full: false, since, entries, crlUrl, ...(issuers && { issuers }) },
    seqs: changes.map((change) => change.seq),
  };
}

/** The signed notice, with the newest entries that fit into it. */
function fit({ body, seqs }: Changes, sign: (body: RevocationsBody) => string): string {
  const token = sign(body);
  if (token.length <= MAX_FLEET_NOTICE_BYTES) return token;
  // Base64url makes four octets of three; an entry counts with its comma.
  const excess = Math.ceil(((token.length - MAX_FLEET_NOTICE_BYTES) * 3) / 4) + 4;
  let kept = body.entries.length;
  for (let dropped = 0; dropped < excess && kept > 0; kept -= 1) {
    dropped += JSON.stringify(body.entries[kept - 1]).length + 1;
  }
  return sign({ ...body, since: seqs[kept] ?? body.since, entries: body.entries.slice(0, kept) });
}

function formatEntry(serial: string, code: number, at: number): RevocationsBody['entries'][number] {
  return [serial, code, Math.floor(at / 1000)];
}

function codeOf(reason: string): number {
  return reasonCodeOf(parseRevocationReason(reason) ?? 'unspecified');
}
