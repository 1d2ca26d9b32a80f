import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { CaTrustBook } from './ca-trust-book.ts';
import type { RevocationPublisher } from './publish-revocations.ts';

/** Milliseconds UTC. */
export type OwnCertificate = { name: string; notBefore: number; notAfter: number };

export type ExpiryDeps = {
  store: Pick<Store, 'read'>;
  clock: Pick<Clock, 'now'>;
  trustBook: Pick<CaTrustBook, 'trust'>;
  revocations: Pick<RevocationPublisher, 'lists'>;
  /** That of the root in use first. One that a person has put nowhere is promised to nobody. */
  readRootCrls: () => Promise<readonly { keyId: string; nextUpdate: number }[]>;
  ownCertificates: () => OwnCertificate[];
};

const DAY = 24 * 3_600_000;
/** The root key has to be brought back for it, from wherever it is kept. */
const ROOT_CRL_WARNING = 60 * DAY;
/** The whole fleet has to hear of the next one and renew; before that, what is certified begins to end with its CA. */
const CA_WARNING = 90 * DAY;
/** What replaces itself at half of its life has failed often when so little is left of it. */
const LEAST_LEFT = 1 / 4;

/**
 * What ends so soon that somebody has to do something, and what that is. None of it keeps the gateway from serving now,
 * so readiness does not depend on it.
 */
export async function checkExpiry(deps: ExpiryDeps): Promise<HealthCheck[]> {
  const { trustBook, revocations, clock } = deps;
  const now = clock.now();
  const { active, issuers } = trustBook.trust;
  const longest = await longestLife(deps.store);
  const checks: HealthCheck[] = [];
  for (const { keyId, nextUpdate } of await deps.readRootCrls()) {
    const isInUse = keyId === active.root.subjectKeyId;
    const which = isInUse ? '' : ` --root-key-id ${keyId.slice(0, 8)}`;
    const advice = `bring the root key back and sign a new one: gatehouse ca crl${which} --root-key-file FILE --root-passphrase-file FILE`;
    checks.push(
      judge(isInUse ? 'root CRL' : `CRL of root ${keyId.slice(0, 8)}`, nextUpdate, ROOT_CRL_WARNING, { advice, now }),
    );
  }
  for (const [name, { notAfter }, command] of [
    ['root certificate in use', active.root, 'prepare the next root: gatehouse ca rollover prepare --root'],
    ['issuing certificate in use', active.certificate, 'prepare the next CA: gatehouse ca rollover prepare'],
  ] as const) {
    const advice = `${command}; what is certified from ${formatDay(notAfter - longest)} on lives shorter than its group says`;
    checks.push(judge(name, notAfter, CA_WARNING + longest, { advice, now }));
  }
  // The list of the one in use is a matter of readiness.
  for (const { keyId, certificate } of issuers) {
    const list = keyId === active.keyId ? undefined : revocations.lists.findNamed('full', keyId);
    if (list === undefined || certificate.notAfter < now) continue;
    const life = list.nextUpdate - list.thisUpdate;
    const advice = 'see the gateway log for why it is not replaced; a new one is signed once the authority answers';
    checks.push(judge(`CRL of issuer ${keyId.slice(0, 8)}`, list.nextUpdate, life * LEAST_LEFT, { advice, now }));
  }
  for (const { name, notBefore, notAfter } of deps.ownCertificates()) {
    const advice = 'it is due for replacement: see the gateway log for why the authority does not issue it';
    checks.push(judge(`life of certificate ${name}`, notAfter, (notAfter - notBefore) * LEAST_LEFT, { advice, now }));
  }
  return checks;
}

/** Milliseconds that a certificate of some group lives. */
async function longestLife({ read }: ExpiryDeps['store']): Promise<number> {
  const groups = await read.groups.list();
  return 1000 * Math.max(0, ...groups.map(({ policy }) => policy.lifetimeSeconds));
}

function formatDay(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

function judge(
  name: string,
  end: number,
  warning: number,
  { advice, now }: { advice: string; now: number },
): HealthCheck {
  const ok = end - now > warning;
  const detail = `${end > now ? 'ends' : 'ended'} ${new Date(end).toISOString()}`;
  return { name, ok, detail, ...(ok ? {} : { advice }) };
}
