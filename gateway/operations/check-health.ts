import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';
import type { OwnCertificate } from './check-expiry.ts';
import type { RevocationPublisher } from './publish-revocations.ts';

export type HealthDeps = {
  store: Store;
  authority: CertificateAuthority;
  clock: Clock;
  revocations: Pick<RevocationPublisher, 'lists' | 'failure'>;
  /** The gateway's own certificates, by name. */
  ownCertificates: () => Pick<OwnCertificate, 'name' | 'notAfter'>[];
};

/** A check that hangs is a check that failed. */
const PATIENCE_MS = 1000;
/** Lists that cannot be made for this long are a fault: what was revoked since is on none. */
const LISTED_WITHIN_MS = 30_000;

/** Can the gateway issue and authenticate at this moment? Every answer comes from trying, not from remembering. */
export async function checkHealth(deps: HealthDeps): Promise<HealthCheck[]> {
  const now = deps.clock.now();
  const checks = await Promise.all([
    attempt(
      'database',
      () => deps.store.probe(),
      'a durable write succeeded',
      'check free disk space and permissions of the data folder',
    ),
    attempt(
      'authority',
      () => deps.authority.describe(AbortSignal.timeout(PATIENCE_MS)),
      'the certificate authority answers',
      'look for the authority process and its log; without it nobody can enroll or renew',
    ),
  ]);
  checks.push(checkCrl(deps, now));
  for (const { name, notAfter } of deps.ownCertificates()) {
    const ok = notAfter > now;
    checks.push({
      name: `certificate ${name}`,
      ok,
      detail: `${ok ? 'ends' : 'ended'} ${new Date(notAfter).toISOString()}`,
      ...(ok ? {} : { advice: 'it renews by itself once the authority answers' }),
    });
  }
  return checks;
}

/** Anything less than this share of its life left, and several attempts to replace it have failed. */
const LEAST_LEFT = 1 / 4;

function checkCrl({ revocations }: HealthDeps, now: number): HealthCheck {
  const { full } = revocations.lists;
  const { failure } = revocations;
  const advice = `a new one is signed as soon as the authority answers${failure === undefined ? '' : `; it says: ${failure.error}`}`;
  if (full === undefined) return { name: 'crl', ok: false, detail: 'none was ever signed', advice };
  const next = new Date(full.nextUpdate).toISOString();
  if (failure !== undefined && now - failure.since > LISTED_WITHIN_MS) {
    const since = new Date(failure.since).toISOString();
    return { name: 'crl', ok: false, detail: `number ${full.number} could not be replaced since ${since}`, advice };
  }
  const left = full.nextUpdate - now;
  const ok = left > (full.nextUpdate - full.thisUpdate) * LEAST_LEFT;
  return {
    name: 'crl',
    ok,
    detail: `number ${full.number}, next update ${next}`,
    ...(ok ? {} : { advice }),
  };
}

async function attempt(
  name: string,
  work: () => Promise<unknown>,
  detail: string,
  advice: string,
): Promise<HealthCheck> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    await Promise.race([work(), patience]);
    return { name, ok: true, detail };
  } catch (error) {
    return { name, ok: false, detail: error instanceof Error ? error.message : String(error), advice };
  } finally {
    clearTimeout(timer);
  }
}
