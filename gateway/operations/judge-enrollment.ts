import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Group } from '#gateway/domain/group.ts';
import { judgePolicy, type PolicyFacts } from '#gateway/domain/policy/judge-policy.ts';
import type { PolicyQuestion } from '#gateway/ports/policy-webhook.ts';
import type { Tables } from '#gateway/ports/store.ts';
import type { AcceptedCsr } from './read-csr.ts';
import type { Arrival } from './record-attempt.ts';
import type { KeyProof } from './verify-attestation.ts';

/** One request for a certificate, its credentials, key and proof verified. */
export type JudgedRequest = {
  kind: PolicyFacts['kind'];
  arrival: Arrival;
  /** `verified`: the CSR carries the binding value of its TLS session (RFC 7030 3.5). */
  binding: PolicyFacts['binding'];
  device: Device;
  isRegistered: boolean;
  group: Group;
  csr: AcceptedCsr;
  proof: KeyProof;
};

const HOUR_MS = 3_600_000;

/** What of a request the rules look at. */
export type JudgedFacts = Pick<JudgedRequest, 'kind' | 'binding' | 'isRegistered' | 'group'> & {
  arrival: Pick<Arrival, 'address'>;
  device: Pick<Device, 'deviceId' | 'owner'>;
  csr: Pick<AcceptedCsr, 'keyKind' | 'spkiSha256'>;
  proof: Pick<KeyProof, 'level'>;
};

/** What the rules of a group look at. Counts cost something, so they are made only where a rule wants them. */
export async function gatherFacts(
  read: Pick<Tables, 'devices' | 'enrollments' | 'certificates'>,
  request: JudgedFacts,
  now: number,
): Promise<PolicyFacts> {
  const { kind, arrival, binding, device, isRegistered, group, csr, proof } = request;
  const { deviceId, owner } = device;
  const { maxDevices, maxPerHour } = group.policy;
  const isFirst = kind === 'enroll';
  const held = isFirst && isRegistered ? await read.certificates.listStanding(deviceId) : [];
  return {
    kind,
    deviceId,
    owner,
    keyKind: csr.keyKind,
    proofLevel: proof.level,
    address: arrival.address,
    at: now,
    binding,
    isRegistered,
    isEnrolledWithOtherKey: held.some(
      (certificate) => isInUse(certificate, now) && certificate.spkiSha256 !== csr.spkiSha256,
    ),
    devicesEnrolled: isFirst && maxDevices !== null ? await read.devices.countEnrolled(group.name, deviceId) : 0,
    enrolledLastHour:
      isFirst && maxPerHour !== null ? await read.enrollments.countFirstSince(group.name, now - HOUR_MS, deviceId) : 0,
  };
}

export function isInUse({ state, notAfter }: Pick<CertificateRecord, 'state' | 'notAfter'>, now: number): boolean {
  return state === 'active' && notAfter >= now;
}

/**
 * The rules of the group alone, for use inside a transaction, where nobody else is asked.
 * @returns why a person has to decide, if one has to @throws GatewayError of the first rule that refuses
 */
export function requireLocalRules({ policy }: Group, facts: PolicyFacts): string | undefined {
  const findings = judgePolicy(policy, facts);
  for (const finding of findings) {
    if (finding.outcome !== 'refused') continue;
    const { code, detail, retryAfter } = finding;
    const subject = { deviceId: facts.deviceId };
    throw new GatewayError(code, detail, { subject, ...(retryAfter !== undefined && { retryAfter }) });
  }
  return findings.find(({ outcome }) => outcome === 'waits')?.detail;
}

export function questionOf(
  { kind, arrival, device, group, csr, proof }: JudgedRequest,
  grounds: string,
): PolicyQuestion {
  return {
    version: 1,
    attemptId: arrival.attemptId,
    kind,
    deviceId: device.deviceId,
    group: group.name,
    owner: device.owner,
    hardwareSerial: device.hardwareSerial,
    grounds,
    address: arrival.address,
    keyKind: csr.keyKind,
    spkiSha256: csr.spkiSha256,
    proofLevel: proof.level,
  };
}
