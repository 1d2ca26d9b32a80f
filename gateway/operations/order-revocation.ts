import type { RevocationReason } from '#ca/revocation/reasons.ts';
import type { RevocationScope } from '#gateway/contract/operator-api.ts';
import type { RevocationJobDetail, RevocationPlanned } from '#gateway/contract/revocation-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { RevocationJob } from '#gateway/domain/revocation-job.ts';
import { StoreError, type Tables } from '#gateway/ports/store.ts';
import { landRevocations } from './land-revocations.ts';
import { listUnused } from './record-certificate-revocation.ts';
import type { RevocationJobs } from './revocation-jobs.ts';
import {
  isIssuing,
  noteOn,
  type RevocationTarget,
  requireTarget,
  revocableCertificates,
} from './revocation-targets.ts';
import type { RevokeDeps } from './revoke-device.ts';
import { showRevocation } from './show-revocations.ts';

export type OrderRevocationDeps = RevokeDeps & {
  revocationJobs: RevocationJobs;
  /** Key ids of the issuers of the certificates that the gateway shows now. */
  ownIssuers: () => string[];
};

export type RevocationOrder = {
  scope: RevocationScope;
  target: string;
  reason: RevocationReason;
  /** Certificates per second; left out: as fast as it goes. */
  rate?: number;
  actor: string;
};

/** Most revocations have ended by then, and the answer says how; a long one goes on without the caller. */
const ANSWER_WAIT_MS = 3000;
const SAMPLE = 20;

/**
 * Revokes everything in a scope, as a job that survives the caller and a restart. What comes to be in the scope while
 * the job runs is revoked with it, except that an issuer's later certificates are not meant.
 * @returns the job, ended or under way
 * @throws GatewayError NOT_FOUND, REQUEST_INVALID, STATE_CONFLICT; STORE_UNAVAILABLE when it is carried out until the
 * gateway restarts and could not be recorded
 */
export async function orderRevocation(deps: OrderRevocationDeps, order: RevocationOrder): Promise<RevocationJobDetail> {
  const { reason, rate, actor } = order;
  const { store, clock, random } = deps;
  requireReason(order);
  const requestedAt = clock.monotonic();
  const target = await requireTarget(store.read, order);
  await requireOthersOwn(deps, target);
  const now = clock.now();
  const job: RevocationJob = {
    ...target,
    id: random.id('r'),
    reason,
    state: 'running',
    rate: rate ?? null,
    createdAt: now,
    createdBy: actor,
    finishedAt: null,
  };
  await store
    .write(async (tables) => {
      await tables.revocationJobs.insert(job, []);
      const detail = `${job.scope} ${job.target}: ${reason}${rate === undefined ? '' : `, ${rate} a second`}`;
      await tables.audit.append(auditEntry({ at: now, actor, action: 'revocation.started', subject: job.id, detail }));
    })
    .catch(async (cause: unknown) => {
      if (!(cause instanceof StoreError) || cause.code !== 'UNAVAILABLE') throw cause;
      throw await shutOutUnrecorded(deps, target, { reason, requestedAt, cause });
    });
  await waitAtMost(deps.revocationJobs.work(job), ANSWER_WAIT_MS);
  return showRevocation(deps, job.id);
}

/** RFC 5280 5.3.1: two reasons speak of authorities, and a hold is an order of its own. */
function requireReason({ scope, reason }: RevocationOrder): void {
  if (reason === 'certificateHold')
    throw new GatewayError('REQUEST_INVALID', 'a hold is of a device: gatehouse device hold');
  if ((reason === 'cACompromise' || reason === 'aACompromise') && scope !== 'issuer')
    throw new GatewayError('REQUEST_INVALID', `${reason} is said of an issuer, not of a ${scope}`);
}

/** In the moment after another CA was activated the gateway still shows certificates of the one before. */
async function requireOthersOwn({ store, ownIssuers }: OrderRevocationDeps, { scope, target }: RevocationTarget) {
  if (scope !== 'issuer' || !ownIssuers().includes(target) || (await isIssuing(store.read, target))) return;
  throw new GatewayError(
    'STATE_CONFLICT',
    'the gateway itself still has a certificate of this CA, and replaces it in a moment: try again',
  );
}

/** A revocation must work on a full disk too. */
async function shutOutUnrecorded(
  deps: OrderRevocationDeps,
  target: RevocationTarget,
  { reason, requestedAt, cause }: { reason: string; requestedAt: number; cause: unknown },
): Promise<GatewayError> {
  for await (const page of revocableCertificates(deps.store.read, target, deps.clock.now())) {
    const unrecorded = page.map(({ deviceId, serial }) => ({
      deviceId,
      serials: [serial],
      ended: [],
      noticeId: undefined,
    }));
    await landRevocations(deps, unrecorded, { reason, decidedAt: requestedAt });
  }
  deps.log.error('revocation carried out but not recorded', { ...target, reason });
  return new GatewayError(
    'STORE_UNAVAILABLE',
    'all of it is shut out until the gateway restarts, but the database cannot be written: free disk space and revoke again',
    { cause },
  );
}

/** What a revocation would do now. @throws GatewayError NOT_FOUND, REQUEST_INVALID, STATE_CONFLICT */
export async function planRevocation(
  deps: Pick<RevokeDeps, 'store' | 'clock' | 'broker'>,
  wanted: RevocationTarget,
): Promise<RevocationPlanned> {
  const { store, clock, broker } = deps;
  const target = await requireTarget(store.read, wanted);
  const live = new Set<string>(broker.sessions().map(({ serial }) => serial));
  const devices = new Set<string>();
  const sample: RevocationPlanned['sample'] = [];
  let certificates = 0;
  let sessions = 0;
  const now = clock.now();
  for await (const page of revocableCertificates(store.read, target, now)) {
    const all = isNamed(target) ? await withUnused(store.read, page, now) : page;
    for (const { serial, deviceId } of all) {
      certificates += 1;
      if (deviceId !== null) devices.add(deviceId);
      if (live.has(serial)) sessions += 1;
      if (sample.length < SAMPLE) sample.push({ serial, deviceId });
    }
  }
  return { ...target, certificates, devices: devices.size, sessions, sample, ...(await noteOn(store.read, target)) };
}

function isNamed({ scope }: RevocationTarget): boolean {
  return scope === 'certificate' || scope === 'key';
}

/** With what goes with them; each once. */
async function withUnused(
  read: Tables,
  named: readonly CertificateRecord[],
  now: number,
): Promise<Iterable<CertificateRecord>> {
  const all = new Map(named.map((one) => [one.serial, one]));
  for (const one of named) {
    const { deviceId, profile } = one;
    if (deviceId === null || profile !== 'device') continue;
    for (const unused of await listUnused(read, { ...one, deviceId }, now)) all.set(unused.serial, unused);
  }
  return all.values();
}

async function waitAtMost(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, patience]);
  clearTimeout(timer);
}
