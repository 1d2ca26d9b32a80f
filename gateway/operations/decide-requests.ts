import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { EnrollmentRequestState, EnrollmentRequestSummary, Page } from '#gateway/contract/operator-api.ts';
import { auditEntry } from '#gateway/domain/audit-entry.ts';
import { isBarred, newDevice } from '#gateway/domain/device.ts';
import { type EnrollmentRequest, REQUEST_LIFE_MS } from '#gateway/domain/enrollment-request.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { findLookAlike } from './find-look-alike.ts';
import { isInUse } from './judge-enrollment.ts';
import { page } from './list-devices.ts';

export type RequestDeps = { store: Store; clock: Clock; broker: Pick<Broker, 'answerWaiting'> };

/** Newest first. */
export async function listEnrollmentRequests(
  deps: Pick<RequestDeps, 'store' | 'clock'>,
  query: { after?: string | undefined; limit: number; state?: EnrollmentRequestState; group?: string },
): Promise<Page<EnrollmentRequestSummary>> {
  const requests = await deps.store.read.enrollmentRequests.list(query);
  const items = await Promise.all(requests.map((request) => summarise(deps, request)));
  return page(items, query.limit, ({ id }) => id);
}

/** @throws GatewayError NOT_FOUND */
export async function showEnrollmentRequest(
  deps: Pick<RequestDeps, 'store' | 'clock'>,
  id: string,
): Promise<EnrollmentRequestSummary> {
  return summarise(deps, await requireRequest(deps.store.read, id));
}

/**
 * A person says yes: the next time the device asks with this key, it gets its certificate. A device that is not
 * registered is, from now on; one that has a certificate for another key loses it when the new one is used.
 * One that was refused may be approved after all.
 * @throws GatewayError NOT_FOUND, STATE_CONFLICT
 */
export async function approveEnrollment(
  deps: RequestDeps,
  { id, note, actor }: { id: string; note?: string; actor: string },
): Promise<EnrollmentRequestSummary> {
  const now = deps.clock.now();
  const request = await deps.store.write(async (tables) => {
    const request = await requireRequest(tables, id);
    const isReopened = request.state === 'refused' && request.expiresAt > now;
    if (request.state === 'approved' && request.expiresAt > now) return request;
    if (!isReopened) requireWaiting(request, now);
    const open = isReopened
      ? await tables.enrollmentRequests.findOpen(request.deviceId, request.spkiSha256)
      : undefined;
    if (open !== undefined) throw conflict(`the device has asked again since: decide ${open.id}`);
    await registerDevice(tables, request, { actor, now });
    return decide(tables, request, { state: 'approved', note: note ?? null, actor, now });
  });
  // Those who wait on an open connection need not ask again.
  deps.broker.answerWaiting(request.deviceId);
  return summarise(deps, request);
}

/** A person says no: this device is refused with this key, until the request would have ended. @throws as above */
export async function refuseEnrollment(
  deps: RequestDeps,
  { id, reason, actor }: { id: string; reason: string; actor: string },
): Promise<EnrollmentRequestSummary> {
  const now = deps.clock.now();
  const request = await deps.store.write(async (tables) => {
    const request = await requireRequest(tables, id);
    // An approval that was not used yet may be taken back.
    if (request.state !== 'approved' || request.expiresAt <= now) requireWaiting(request, now);
    return refuseRequest(tables, request, { note: reason, actor, now });
  });
  deps.broker.answerWaiting(request.deviceId);
  return summarise(deps, request);
}

/** Inside the caller's transaction. */
export async function refuseRequest(
  tables: Tables,
  request: EnrollmentRequest,
  { note, actor, now }: { note: string; actor: string; now: number },
): Promise<EnrollmentRequest> {
  return decide(tables, request, { state: 'refused', note, actor, now });
}

const EXPIRE_BATCH = 200;

/** Nobody decided, or the device did not come for what was decided. Inside the caller's transaction. */
export async function expireRequests(tables: Tables, now: number): Promise<void> {
  for (const { id, deviceId, state } of await tables.enrollmentRequests.expire(now, EXPIRE_BATCH)) {
    await tables.audit.append(
      auditEntry({
        at: now,
        actor: 'gateway',
        action: 'enrollment.request-expired',
        subject: deviceId,
        attemptId: id,
        detail: state === 'approved' ? 'the device did not come for its certificate' : 'nobody decided',
      }),
    );
  }
}

async function decide(
  tables: Tables,
  request: EnrollmentRequest,
  decision: { state: 'approved' | 'refused'; note: string | null; actor: string; now: number },
): Promise<EnrollmentRequest> {
  const { state, note, actor, now } = decision;
  const change = { state, note, decidedAt: now, decidedBy: actor, expiresAt: now + REQUEST_LIFE_MS };
  await tables.enrollmentRequests.update(request.id, change);
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: state === 'approved' ? 'enrollment.request-approved' : 'enrollment.request-refused',
      subject: request.deviceId,
      attemptId: request.id,
      ...(state === 'refused' && { outcome: 'refused', code: 'APPROVAL_REFUSED' }),
      detail: `key ${request.spkiSha256}${note === null ? '' : `: ${note}`}`,
    }),
  );
  return { ...request, ...change };
}

async function registerDevice(
  tables: Tables,
  { id, deviceId, group, hardwareSerial, grounds }: EnrollmentRequest,
  { actor, now }: { actor: string; now: number },
): Promise<void> {
  const device = await tables.devices.find(deviceId);
  if (device !== undefined) {
    if (isBarred(device)) throw conflict(`"${deviceId}" is ${device.state} and gets no certificate`);
    if (device.group === group && device.hardwareSerial === hardwareSerial) return;
    throw conflict(`another device was registered as "${deviceId}" since: group ${device.group}`);
  }
  const policy = (await tables.groups.find(group))?.policy;
  if (policy === undefined) throw conflict(`there is no group "${group}" any more`);
  const other = await findLookAlike(tables, { deviceId, group, hardwareSerial });
  if (other !== undefined) throw conflict(other.detail);
  await tables.devices.insert(newDevice({ deviceId, group, hardwareSerial, owner: policy.owner }, now));
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'device.added',
      subject: deviceId,
      attemptId: id,
      detail: `group ${group}, hardware serial ${hardwareSerial ?? 'unknown'}, by approving its enrollment (${grounds})`,
    }),
  );
}

async function requireRequest(read: Pick<Tables, 'enrollmentRequests'>, id: string): Promise<EnrollmentRequest> {
  const request = await read.enrollmentRequests.find(id);
  if (request === undefined) throw new GatewayError('NOT_FOUND', `no enrollment request "${id}"`);
  return request;
}

function requireWaiting({ state, expiresAt, decidedBy }: EnrollmentRequest, now: number): void {
  if (state === 'waiting' && expiresAt > now) return;
  if (state === 'waiting' || state === 'expired') throw conflict('this request has expired; the device asks again');
  throw conflict(`this request is ${state} already${decidedBy === null ? '' : `, by ${decidedBy}`}`);
}

function conflict(why: string): GatewayError {
  return new GatewayError('STATE_CONFLICT', why);
}

async function summarise(
  { store, clock }: Pick<RequestDeps, 'store' | 'clock'>,
  request: EnrollmentRequest,
): Promise<EnrollmentRequestSummary> {
  return { ...request, known: await knownAs(store.read, request.deviceId, clock.now()) };
}

async function knownAs(read: Tables, deviceId: DeviceId, now: number): Promise<EnrollmentRequestSummary['known']> {
  if ((await read.devices.find(deviceId)) === undefined) return 'unknown';
  const certificates = await read.certificates.listStanding(deviceId);
  return certificates.some((certificate) => isInUse(certificate, now)) ? 'enrolled' : 'registered';
}
