import { auditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { type Device, isBarred } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Randomness } from '#gateway/ports/randomness.ts';
import type { Store, Tables } from '#gateway/ports/store.ts';
import { acceptProof } from './accept-proof.ts';
import { discardServerKeys } from './discard-server-keys.ts';
import { type Applicant, formatGrounds, requireGrounds } from './enrollment-grounds.ts';
import { findBegun, findKeyInUse, requireFreeTicket, requireUncompromised } from './find-begun.ts';
import { requireNoLookAlike } from './find-look-alike.ts';
import { requireBudget } from './issuance-budget.ts';
import { gatherFacts, type JudgedRequest, requireLocalRules } from './judge-enrollment.ts';
import { ownDoubt } from './own-doubt.ts';
import { decisionOf, enqueue, hasNewcomerSince, requireApprovedKey } from './queue-request.ts';
import type { AcceptedCsr } from './read-csr.ts';
import { recordIntent } from './record-intent.ts';

export type BeginDeps = { store: Store; clock: Clock; random: Randomness };

export type BeginOrder = {
  applicant: Applicant;
  judged: JudgedRequest;
  /** Said by policy and webhook before; undefined: they were not asked, because an answer seemed to be lost. */
  verdict: 'approved' | { waits: string } | undefined;
  /** A key pair made here in place of the one of the CSR; `once granted`: it is made when nothing else is in the way. */
  madeHere?: AcceptedCsr | 'once granted';
};

export type BegunEnrollment =
  | { outcome: 'issue'; enrollment: Enrollment; approved: boolean; ended: CertificateRecord[] }
  | { outcome: 'given again'; certificate: Buffer }
  | { outcome: 'waits' | 'refused'; request: EnrollmentRequest }
  /** What seemed to have been begun is over: policy has to be asked. */
  | { outcome: 'ask policy' }
  /** Nothing is in the way of a key made here, and nothing was written. */
  | { outcome: 'make key' };

/** Rolls back: what the key is made for is decided again with it, on the state as it is then. */
class KeyWanted extends Error {}

/**
 * One transaction: what allows the enrollment is read again; what was begun for this key before is found; or the rules
 * are held against the state as it is now, an unknown device is registered, its ticket bound to this key, the serial
 * reserved and the intent recorded; or the request waits for a person.
 */
export async function beginEnrollment(deps: BeginDeps, order: BeginOrder): Promise<BegunEnrollment> {
  const { applicant, judged, verdict, madeHere } = order;
  const { grounds } = applicant;
  const { csr, proof, arrival } = judged;
  const { deviceId } = applicant.device;
  const now = deps.clock.now();
  const begin = async (tables: Tables): Promise<BegunEnrollment> => {
    const newestRequest = () => tables.enrollmentRequests.findNewest(deviceId, csr.spkiSha256);
    let known = await newestRequest();
    const ticket = await requireGrounds(tables, applicant, { request: known, now });
    const registered = await findRegistered(tables, applicant);
    const device = registered ?? applicant.device;
    if (madeHere === undefined) {
      const begun = await findBegun(tables, { deviceId, ticket, spkiSha256: csr.spkiSha256, proof });
      if (begun !== undefined) {
        await acceptProof(tables, { proof, begun: begun.enrollment, device, now });
        if (begun.certificate !== undefined) return { outcome: 'given again', certificate: begun.certificate.der };
        return { outcome: 'issue', enrollment: begun.enrollment, approved: false, ended: [] };
      }
      const inUse = ticket === undefined ? await findKeyInUse(tables, { deviceId, csr, proof, now }) : undefined;
      if (inUse !== undefined) return { outcome: 'given again', certificate: inUse.der };
    }
    if (verdict === undefined) return { outcome: 'ask policy' };
    const isMadeHere = madeHere !== undefined;
    if (ticket !== undefined) await requireFreeTicket(tables, ticket, { spkiSha256: csr.spkiSha256, isMadeHere });
    await requireUncompromised(tables, { deviceId, spkiSha256: csr.spkiSha256 });

    const ended = madeHere === undefined ? [] : await discardServerKeys(tables, { device, csr, now });
    // A person's word that was for one of those stands again.
    if (madeHere !== undefined) known = await newestRequest();
    const group = (await tables.groups.find(applicant.group.name)) ?? applicant.group;
    const current: JudgedRequest = { ...judged, device, isRegistered: registered !== undefined, group };
    const rule = requireLocalRules(group, await gatherFacts(tables, current, now));
    const said = verdict === 'approved' ? undefined : verdict.waits;
    const why = rule ?? (await ownDoubt(tables, { ...grounds, device, spkiSha256: csr.spkiSha256, now })) ?? said;
    const decided = standsAfter(ticket, known) ? undefined : decisionOf(known, now);
    const isOvertaken = decided === 'approved' && known !== undefined && (await hasNewcomerSince(tables, known));
    const decision = isOvertaken ? undefined : decided;
    if (decision === 'refused' && known !== undefined) return { outcome: 'refused', request: known };
    if (why !== undefined && decision !== 'approved') {
      const id = await requestId(deps, tables, arrival);
      const asked = { known, why, grounds: formatGrounds(grounds), id, isMadeHere, now };
      return { outcome: 'waits', request: await enqueue(tables, current, asked) };
    }
    if (decision === 'approved' && known !== undefined) requireApprovedKey(known, current, isMadeHere);
    // What somebody else got with a key that was stolen is not counted against whom a person lets in since.
    const since = Math.max(ticket?.createdAt ?? 0, (decision === 'approved' && known?.decidedAt) || 0);
    const { lifetimeSeconds } = group.policy;
    await requireBudget(tables, { deviceId, lifetimeSeconds, since, now });
    if (madeHere === 'once granted') throw new KeyWanted();

    if (registered === undefined) await register(tables, device, { actor: formatGrounds(grounds), arrival, now });
    await acceptProof(tables, { proof, begun: undefined, device, now });
    const enrollment = await recordIntent(tables, deps.random, {
      kind: 'enroll',
      arrival,
      actor: formatGrounds(grounds),
      device,
      csr: madeHere ?? csr,
      proof,
      ticketId: ticket?.id ?? null,
      grounds: formatGrounds(grounds),
      requestId: decision === 'approved' ? (known?.id ?? null) : null,
      serverKeyFor: madeHere === undefined ? null : csr.spkiSha256,
      lifetimeSeconds: group.policy.lifetimeSeconds,
      noRevAvailBelowSeconds: group.policy.noRevAvailBelowSeconds,
      now,
    });
    if (ticket !== undefined) {
      await tables.tickets.update(ticket.id, { boundSpkiSha256: csr.spkiSha256, boundSerial: enrollment.serial });
    }
    if (known?.state === 'waiting' || known?.state === 'approved')
      await tables.enrollmentRequests.update(known.id, { state: 'used' });
    return { outcome: 'issue', enrollment, approved: decision === 'approved', ended };
  };
  return deps.store.write(begin).catch((error: unknown): BegunEnrollment => {
    if (error instanceof KeyWanted) return { outcome: 'make key' };
    throw error;
  });
}

/** Somebody else may have registered it since it was looked for, or a person ended it. */
async function findRegistered(tables: Tables, { device, isRegistered }: Applicant): Promise<Device | undefined> {
  const subject = { deviceId: device.deviceId };
  const stored = await tables.devices.find(device.deviceId);
  if (stored === undefined) {
    if (isRegistered) throw new GatewayError('DEVICE_UNKNOWN', 'this device is not registered', { subject });
    return undefined;
  }
  if (isBarred(stored)) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', `this device is ${stored.state}`, { subject });
  }
  if (stored.group !== device.group || stored.hardwareSerial !== device.hardwareSerial) {
    throw new GatewayError('DEVICE_NOT_ALLOWED', 'another device was registered by this name a moment ago', {
      subject,
    });
  }
  return stored;
}

/** A ticket made after the refusal is a person's later word. */
function standsAfter(ticket: Ticket | undefined, known: EnrollmentRequest | undefined): boolean {
  return (
    ticket !== undefined && known?.state === 'refused' && known.decidedAt !== null && ticket.createdAt > known.decidedAt
  );
}

/** The id of the attempt that asks first, unless a client uses one twice. */
async function requestId(
  { random }: BeginDeps,
  tables: Tables,
  { attemptId }: JudgedRequest['arrival'],
): Promise<string> {
  return (await tables.enrollmentRequests.find(attemptId)) === undefined ? attemptId : random.id('a');
}

async function register(
  tables: Tables,
  device: Device,
  { actor, arrival, now }: { actor: string; arrival: JudgedRequest['arrival']; now: number },
): Promise<void> {
  // Again: somebody else may have registered one since this one was let in.
  await requireNoLookAlike(tables, device);
  await tables.devices.insert({ ...device, createdAt: now });
  await tables.audit.append(
    auditEntry({
      at: now,
      actor,
      action: 'device.added',
      subject: device.deviceId,
      attemptId: arrival.attemptId,
      detail: `group ${device.group}, hardware serial ${device.hardwareSerial ?? 'unknown'}, on its first enrollment`,
    }),
  );
}
