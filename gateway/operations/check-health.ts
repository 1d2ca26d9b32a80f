import type { CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store } from '#gateway/ports/store.ts';

export type HealthDeps = {
  store: Store;
  authority: CertificateAuthority;
  clock: Clock;
  /** Milliseconds UTC at which the gateway's own certificates end, by name. */
  ownCertificates: () => { name: string; notAfter: number }[];
};

/** A check that hangs is a check that failed. */
const PATIENCE_MS = 1000;
/** A revocation that is on no CRL after this long is a fault. */
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
    checkCrl(deps, now),
  ]);
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

async function checkCrl({ store }: HealthDeps, now: number): Promise<HealthCheck> {
  const crl = await store.read.crls.latest();
  const advice = 'a new one is signed as soon as the authority answers';
  if (crl === undefined) return { name: 'crl', ok: false, detail: 'none was ever signed', advice };
  const [newest] = await store.read.revocations.listNewest(1);
  // thisUpdate has whole seconds: what was revoked within that second is taken for listed.
  const missing =
    newest !== undefined && newest.revokedAt >= crl.thisUpdate + 1000 && now - newest.revokedAt > LISTED_WITHIN_MS;
  if (missing) return { name: 'crl', ok: false, detail: `number ${crl.number} lacks the newest revocation`, advice };
  const ok = crl.nextUpdate > now;
  return {
    name: 'crl',
    ok,
    detail: `number ${crl.number}, next update ${new Date(crl.nextUpdate).toISOString()}`,
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
