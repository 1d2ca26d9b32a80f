import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { NoticeKind } from '#gateway/contract/notice.ts';
import type { AuditEvent, DeviceState } from '#gateway/contract/operator-api.ts';
import type { Attempt } from '#gateway/domain/attempt.ts';
import type { AttestationChallenge } from '#gateway/domain/attestation/challenge.ts';
import type { Endorsement } from '#gateway/domain/attestation/endorsement.ts';
import type { AllowedEk, TpmRoot } from '#gateway/domain/attestation/trusted-tpm.ts';
import type { AuditEntry } from '#gateway/domain/audit-entry.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { DeviceTrust } from '#gateway/domain/device-trust.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { EnrollmentRequest } from '#gateway/domain/enrollment-request.ts';
import type { Group } from '#gateway/domain/group.ts';
import type { ManufacturerCa } from '#gateway/domain/manufacturer-ca.ts';
import type { NoticeRecord } from '#gateway/domain/notice-record.ts';
import type { Registrar } from '#gateway/domain/registrar.ts';
import type { CrlRecord, RevocationRecord } from '#gateway/domain/revocation-record.ts';
import type { SessionRecord } from '#gateway/domain/session-record.ts';
import type { Ticket } from '#gateway/domain/ticket.ts';
import type { PageOrder } from './page-order.ts';

/** Inserting a key that exists rejects with StoreError CONFLICT in every table. */
export interface DeviceTable {
  insert(device: Device): Promise<void>;
  find(deviceId: DeviceId): Promise<Device | undefined>;
  update(deviceId: DeviceId, change: Partial<Omit<Device, 'deviceId'>>): Promise<void>;
  /** The next notice sequence number of this device, `atLeast` or higher; only rises. */
  takeNoticeSeq(deviceId: DeviceId, atLeast: number): Promise<number>;
  list(page: PageOrder & { group?: string; state?: DeviceState }): Promise<Device[]>;
  /** Their ids alone, out of the index: what is asked every few seconds must not read their reports. */
  listIds(page: PageOrder & { state: DeviceState }): Promise<DeviceId[]>;
  countByGroup(): Promise<Map<string, number>>;
  /**
   * Devices with a certificate in use, or one that has expired and was used, by id: the newest such certificate, and which
   * anchors the device has said it uses. @param page.endsAfter certificates that end before do not count
   */
  listTrust(page: PageOrder & { endsAfter: number }): Promise<DeviceTrust[]>;
  /**
   * By what its maker calls it, capitals and spaces apart (X.520 6.2.9: caseIgnoreMatch); two makers may have given the
   * same.
   */
  listByHardwareSerial(hardwareSerial: string): Promise<Device[]>;
  /** By its id, capitals apart: what people, and systems that fold case, take for one name. */
  listByName(deviceId: DeviceId): Promise<Device[]>;
  /**
   * Devices of the group in state enrolled, and those that are about to be: with a certificate under way or not used
   * yet. `except` is not counted.
   */
  countEnrolled(group: string, except?: DeviceId): Promise<number>;
}

export interface GroupTable {
  find(name: string): Promise<Group | undefined>;
  list(): Promise<Group[]>;
  /** Keeps every version of the policy; the highest is in force. CONFLICT when the version exists already. */
  put(group: Group, actor: string): Promise<void>;
}

export interface TicketTable {
  insert(ticket: Ticket): Promise<void>;
  find(id: string): Promise<Ticket | undefined>;
  findBySecret(secretSha256: string): Promise<Ticket | undefined>;
  update(id: string, change: Partial<Ticket>): Promise<void>;
  listByDevice(deviceId: DeviceId): Promise<Ticket[]>;
  /** Newest first. */
  list(page: PageOrder): Promise<Ticket[]>;
}

export interface EnrollmentTable {
  insert(enrollment: Enrollment): Promise<void>;
  find(id: string): Promise<Enrollment | undefined>;
  /** Newest first, at most ten. */
  listByKey(deviceId: DeviceId, spkiSha256: string): Promise<Enrollment[]>;
  /** Devices of the group, without this one, that have begun a first enrollment at or after `since`. */
  countFirstSince(group: string, since: number, exception?: DeviceId): Promise<number>;
  /** Whether one was ever begun for this serial, however it ended. */
  hasSerial(serial: SerialNumber): Promise<boolean>;
  /** As listUnfinished, of one device. */
  listUnfinishedByDevice(deviceId: DeviceId): Promise<Enrollment[]>;
  /** Recorded, but without a certificate: to be reconciled with the authority after a crash. */
  listUnfinished(limit: number): Promise<Enrollment[]>;
  update(id: string, change: Partial<Pick<Enrollment, 'state' | 'updatedAt'>>): Promise<void>;
}

export interface EnrollmentRequestTable {
  insert(request: EnrollmentRequest): Promise<void>;
  find(id: string): Promise<EnrollmentRequest | undefined>;
  /** The waiting or approved one of this device and key. */
  findOpen(deviceId: DeviceId, spkiSha256: string): Promise<EnrollmentRequest | undefined>;
  /** The newest of this device and key, in whatever state. */
  findNewest(deviceId: DeviceId, spkiSha256: string): Promise<EnrollmentRequest | undefined>;
  /** The waiting and approved ones of this device. */
  listOpenByDevice(deviceId: DeviceId): Promise<EnrollmentRequest[]>;
  update(
    id: string,
    change: Partial<
      Pick<
        EnrollmentRequest,
        'state' | 'lastAskedAt' | 'timesAsked' | 'address' | 'expiresAt' | 'decidedAt' | 'decidedBy' | 'note'
      >
    >,
  ): Promise<void>;
  /** Newest first; `after` is an id. */
  list(page: PageOrder & { state?: EnrollmentRequest['state']; group?: string }): Promise<EnrollmentRequest[]>;
  countWaiting(group?: string): Promise<number>;
  /** Waiting and approved ones past their end become `expired`. @returns those that did. */
  expire(now: number, limit: number): Promise<EnrollmentRequest[]>;
  /** Drops those that are over and were last asked before `before`, at most `limit`. @returns how many went. */
  prune(before: number, limit: number): Promise<number>;
}

export interface ManufacturerCaTable {
  /** @returns false when the same stood there already. */
  put(ca: ManufacturerCa): Promise<boolean>;
  listBySubject(subjectSha256: string): Promise<ManufacturerCa[]>;
  list(group?: string): Promise<ManufacturerCa[]>;
  /** @returns false when there was none. */
  remove(group: string, sha256: string): Promise<boolean>;
}

export interface RegistrarTable {
  insert(registrar: Registrar): Promise<void>;
  find(name: string): Promise<Registrar | undefined>;
  findBySerial(serial: string): Promise<Registrar | undefined>;
  list(): Promise<Registrar[]>;
  /** @returns false when there was none. */
  remove(name: string): Promise<boolean>;
}

export interface AttemptTable {
  /** The same id again takes the place of the one before. */
  put(attempt: Attempt): Promise<void>;
  find(id: string): Promise<Attempt | undefined>;
  /** Newest first; `after` is an id. */
  list(page: PageOrder & { deviceId?: string; outcome?: Attempt['outcome'] }): Promise<Attempt[]>;
  /** Drops those before `before`, and all but the newest `keep`; at most `limit` at once. @returns how many went. */
  prune(before: number, keep: number, limit: number): Promise<number>;
}

export interface CertificateTable {
  insert(certificate: CertificateRecord): Promise<void>;
  find(serial: string): Promise<CertificateRecord | undefined>;
  update(
    serial: SerialNumber,
    change: Partial<
      Pick<
        CertificateRecord,
        | 'state'
        | 'activatedAt'
        | 'supersedeAt'
        | 'lapseAt'
        | 'revokedAt'
        | 'revocationReason'
        | 'renewFrom'
        | 'renewUntil'
      >
    >,
  ): Promise<void>;
  /** The device's own ones (profile `device`), newest first; its claims stand with their tickets. */
  listByDevice(deviceId: DeviceId): Promise<CertificateRecord[]>;
  /** Of these the pending and active ones: few, however many it has had. */
  listStanding(deviceId: DeviceId): Promise<CertificateRecord[]>;
  /** Of these those issued at or after `since`. */
  listIssuedSince(deviceId: DeviceId, since: number): Promise<CertificateRecord[]>;
  /** Newest first; `after` is a serial. */
  list(page: PageOrder & { state?: CertificateRecord['state']; deviceId?: DeviceId }): Promise<CertificateRecord[]>;
  /** With this public key: of devices, claims and registrars. The others are device certificates; `after` is a serial. */
  listByKey(spkiSha256: string): Promise<CertificateRecord[]>;
  listByLineage(lineageId: string): Promise<CertificateRecord[]>;
  listByIssuer(issuerKeyId: string, page: PageOrder): Promise<CertificateRecord[]>;
  /** As listByIssuer, of every profile. */
  listAllByIssuer(issuerKeyId: string, page: PageOrder): Promise<CertificateRecord[]>;
  /**
   * Active ones whose suggested window begins in [from, until), in that order. For the page after, `from` is where the
   * window of the last one begins and `after` its serial.
   */
  listByRenewal(from: number, until: number, limit: number, after?: string): Promise<CertificateRecord[]>;
  /** How many active ones, of devices of this group, have a window that begins in [from, until). */
  countRenewals(from: number, until: number, group?: string): Promise<number>;
  /** How many active ones have a window that begins in each minute (since 1970) in [first, end); those without are left out. */
  countRenewalsByMinute(first: number, end: number): Promise<Map<number, number>>;
  /** By next due time (see nextDueAt), so that no sweep scans the table. */
  listDue(now: number, limit: number): Promise<CertificateRecord[]>;
}

export interface RevocationTable {
  /** Revoking twice is not an error: the first record stays. @returns true when it was new. */
  insert(revocation: RevocationRecord): Promise<boolean>;
  find(serial: SerialNumber): Promise<RevocationRecord | undefined>;
  /** Of a certificate released from a hold, or about to be revoked for good instead. */
  remove(serial: SerialNumber): Promise<void>;
  setClosedAfter(serials: readonly SerialNumber[], milliseconds: number): Promise<void>;
  /**
   * Those that still belong on a CRL: of certificates whose notAfter is not before `expiredBefore`. Soonest to expire
   * first, so that a page costs the same however many have expired; `after` is a serial.
   */
  listForCrl(expiredBefore: number, page: PageOrder): Promise<RevocationRecord[]>;
  /** Newest first. */
  listNewest(limit: number): Promise<RevocationRecord[]>;
  listUnexpiredSerials(now: number): Promise<SerialNumber[]>;
}

export interface CrlTable {
  insert(crl: CrlRecord): Promise<void>;
  latest(): Promise<CrlRecord | undefined>;
  /** Drops all but the newest `keep`. */
  prune(keep: number): Promise<void>;
}

export interface SessionTable {
  /** Moves a session that was still current to `last`. */
  open(deviceId: DeviceId, session: { serial: string; address: string; since: number }): Promise<void>;
  /** Does nothing when the current session is another one (another `since` or serial). */
  end(
    deviceId: DeviceId,
    session: { serial: string; since: number },
    endedAt: number,
    endReason: string,
  ): Promise<void>;
  find(deviceId: DeviceId): Promise<SessionRecord | undefined>;
  /** At a start nobody can still be connected. @returns how many were. */
  endAll(endedAt: number, endReason: string): Promise<number>;
}

export interface NoticeTable {
  insert(notice: NoticeRecord): Promise<void>;
  find(id: string): Promise<NoticeRecord | undefined>;
  update(id: string, change: Partial<Pick<NoticeRecord, 'state' | 'sentAt' | 'ackedAt' | 'detail'>>): Promise<void>;
  /** Not finished and not expired, in order of seq. */
  listUnfinished(deviceId: DeviceId, now: number): Promise<NoticeRecord[]>;
  /** Newest first. */
  listByDevice(deviceId: DeviceId, limit: number, kind?: NoticeKind): Promise<NoticeRecord[]>;
  /** Marks unfinished ones past their end as expired. @returns how many. */
  expire(now: number): Promise<number>;
  /** Drops finished ones whose end was before this. @returns how many, `limit` at most. */
  prune(endedBefore: number, limit: number): Promise<number>;
  countUnfinished(): Promise<number>;
}

export interface EndorsementTable {
  find(deviceId: DeviceId): Promise<Endorsement | undefined>;
  findByEk(ekSha256: string): Promise<Endorsement | undefined>;
  /** One row a device: a second one takes the place of the first. CONFLICT when the EK stands for another device. */
  put(endorsement: Endorsement): Promise<void>;
  remove(deviceId: DeviceId): Promise<void>;
}

export interface ChallengeTable {
  insert(challenge: AttestationChallenge): Promise<void>;
  /** Newest first, used and expired ones too. */
  listByDevice(deviceId: DeviceId): Promise<AttestationChallenge[]>;
  /** @returns false when it was used before, or is not there. */
  use(id: string, usedAt: number): Promise<boolean>;
  remove(id: string): Promise<void>;
  removeByDevice(deviceId: DeviceId): Promise<void>;
  /** Whether at least this many neither used nor expired ones are there; costs what is counted. */
  hasOutstanding(count: number, now: number): Promise<boolean>;
  /** @returns how many went. */
  removeExpired(now: number): Promise<number>;
}

export interface EkAllowListTable {
  find(ekSha256: string): Promise<AllowedEk | undefined>;
  /** @returns false when the same stood there already. */
  put(allowed: AllowedEk): Promise<boolean>;
  /** @returns false when there was none. */
  remove(ekSha256: string): Promise<boolean>;
  list(page: PageOrder): Promise<AllowedEk[]>;
}

export interface TpmRootTable {
  insert(root: TpmRoot): Promise<void>;
  find(sha256: string): Promise<TpmRoot | undefined>;
  listBySubject(subjectSha256: string): Promise<TpmRoot[]>;
  list(page: PageOrder): Promise<TpmRoot[]>;
  /** @returns false when there was none. */
  remove(sha256: string): Promise<boolean>;
}

export interface AuditTable {
  append(...entries: AuditEntry[]): Promise<void>;
  /** Newest first; `after` is an id. */
  list(
    page: PageOrder & { subject?: string; action?: string; attemptId?: string; since?: number },
  ): Promise<AuditEvent[]>;
}

export interface LeaseTable {
  /**
   * @returns true when `holder` has the lease until `until`: it was free, run out, already its own, or lasts more than twice
   * as long as is asked for here, which only a clock that was set back can have made of it
   */
  acquire(name: string, holder: string, now: number, until: number): Promise<boolean>;
  release(name: string, holder: string): Promise<void>;
  /** All that this holder has: it is known to have ended. */
  releaseAll(holder: string): Promise<void>;
}

export interface SettingTable {
  get(name: string): Promise<string | undefined>;
  set(name: string, value: string): Promise<void>;
}
