import type { CloneReaction } from '#gateway/contract/alarm-api.ts';
import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import type { AgentState } from '#gateway/contract/reports.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { CloneEvidence } from '#gateway/domain/clone/clone-evidence.ts';
import { judgeReport } from '#gateway/domain/clone/judge-report.ts';
import { meetsProof } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { BackgroundWrites } from './background-writes.ts';
import type { CloneRulesBook } from './clone-rules-book.ts';
import { formatLastReport, readReportTrail } from './last-report.ts';
import { type QuarantineDeps, raiseAlarm } from './quarantine-device.ts';
import type { OpenedSession, SessionRefusal } from './session-records.ts';

export type DetectDeps = QuarantineDeps & { background: Pick<BackgroundWrites, 'add'>; cloneRules: CloneRulesBook };

type Reporting = Pick<OpenedSession, 'deviceId' | 'serial' | 'address' | 'since'>;
type Understood = Pick<AgentState, 'serial' | 'run' | 'count'>;

/** A session took the place of a living one of its device. Never throws; what comes of it comes later. */
export function watchTakeOver(deps: DetectDeps, session: OpenedSession): void {
  const { displaced, ...opened } = session;
  if (displaced === undefined) return;
  const { trails, cloneRules } = deps;
  const evidence = trails.takenOver({ ...opened, displaced }, cloneRules.rules);
  if (evidence !== undefined) void raise(deps, session.deviceId, evidence, cloneRules.rules.reaction);
}

/**
 * A device has said how it is: what it said is kept, and compared with what was said for it before. Written behind its
 * back, in the order in which the reports came; no report waits for the disk.
 * @param reported the whole report
 */
export function watchReport(deps: DetectDeps, session: Reporting, reported: object, understood: Understood): void {
  const { trails, cloneRules } = deps;
  const { deviceId, serial, address, since } = session;
  const { run = null, count = null } = understood;
  const at = deps.clock.now();
  const takeOver = trails.takeOverOf(deviceId, since);
  deps.background.add(async (tables) => {
    const device = await tables.devices.find(deviceId);
    if (device === undefined) return;
    const known = readReportTrail(device);
    const lineage =
      known?.trail.serial === serial ? known.trail.lineage : lineageOf(await tables.certificates.find(serial), serial);
    const verdict = judgeReport(
      known,
      { at, serial, lineage, session: { since, address }, run, count, takeOver },
      cloneRules.rules,
    );
    if (verdict === undefined) return;
    const lastReport = formatLastReport(reported, understood, verdict.trail);
    await tables.devices.update(deviceId, { reportCount: verdict.count, lastReport });
    if (verdict.isSameRun) trails.explained(deviceId);
    if (verdict.evidence !== undefined) void raise(deps, deviceId, verdict.evidence, cloneRules.rules.reaction);
  });
}

/**
 * A certificate was refused. One that was superseded tells of a copy when the device has said itself that it has
 * switched to its successor. As long as it has not, it may be the device, whose answer was lost, or a thief has renewed
 * in its place and keeps silent: who goes on showing it is told of, and nobody is quarantined for it. Nor for one that has
 * expired as well.
 */
export async function watchRefusal(
  deps: DetectDeps,
  { code, deviceId, serial, address }: Omit<SessionRefusal, 'detail'>,
): Promise<void> {
  if (code !== 'CERTIFICATE_SUPERSEDED' || deviceId === undefined || serial === undefined) return;
  if (!isDeviceId(deviceId)) return;
  const { store, trails, cloneRules, clock, log } = deps;
  try {
    const device = await store.read.devices.find(deviceId);
    const trail = device === undefined ? undefined : readReportTrail(device)?.trail;
    const used = await store.read.certificates.find(serial);
    if (used === undefined) return;
    const held = await store.read.certificates.listByDevice(deviceId);
    const later = held.filter(({ state, issuedAt }) => state === 'active' && issuedAt > used.issuedAt);
    const reported = later.find((one) => one.serial === trail?.serial);
    const successor = reported ?? later.find(({ supersedeAt }) => supersedeAt === null);
    if (successor === undefined) return;
    const isReported = reported !== undefined;
    const use = { deviceId, serial, successor: successor.serial, isReported, address, at: clock.now() };
    const evidence = trails.supersededUsed(use, cloneRules.rules);
    // Whoever has a successor with a key in the TPM has proved to be the original when it was issued.
    const isProven = meetsProof(successor.proofLevel ?? 'software', 'tpm');
    // Keys of long ago lie in old backups and scrapped hardware: whoever finds one must not silence the device by it.
    const hasEnded = use.at >= used.notAfter + 1000;
    const reaction = isProven || hasEnded || !isReported ? 'alarm' : cloneRules.rules.reaction;
    if (evidence !== undefined) await raise(deps, deviceId, evidence, reaction);
  } catch (error) {
    log.error('a superseded certificate could not be looked at', { deviceId, serial, error });
  }
}

/** Does the work, and looks at why it was refused when it was. */
export async function watchRefusals<T>(deps: DetectDeps, address: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof GatewayError) void watchRefusal(deps, { ...error.subject, code: error.code, address });
    throw error;
  }
}

function lineageOf(certificate: CertificateRecord | undefined, serial: string): string {
  return certificate?.lineageId ?? serial;
}

async function raise(
  deps: DetectDeps,
  deviceId: DeviceId,
  evidence: CloneEvidence,
  reaction: CloneReaction,
): Promise<void> {
  try {
    await raiseAlarm(deps, { deviceId, evidence, reaction });
  } catch (error) {
    deps.log.error('identity alarm not recorded', { deviceId, kind: evidence.kind, detail: evidence.detail, error });
  }
}
