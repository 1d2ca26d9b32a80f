import type { Tables } from '#gateway/ports/store.ts';
import { attemptTable } from './attempt-table.ts';
import { auditTable } from './audit-table.ts';
import { caGenerationTable } from './ca-generation-table.ts';
import { certificateTable } from './certificate-table.ts';
import { challengeTable } from './challenge-table.ts';
import { crlTable } from './crl-table.ts';
import { deviceTable } from './device-table.ts';
import { ekAllowListTable } from './ek-allow-list-table.ts';
import { endorsementTable } from './endorsement-table.ts';
import { enrollmentRequestTable } from './enrollment-request-table.ts';
import { enrollmentTable } from './enrollment-table.ts';
import { groupTable } from './group-table.ts';
import { identityAlarmTable } from './identity-alarm-table.ts';
import { leaseTable } from './lease-table.ts';
import { manufacturerCaTable } from './manufacturer-ca-table.ts';
import { noticeTable } from './notice-table.ts';
import type { QueryScope } from './query-scope.ts';
import { registrarTable } from './registrar-table.ts';
import { renewalCampaignTable } from './renewal-campaign-table.ts';
import { revocationJobTable } from './revocation-job-table.ts';
import { revocationTable } from './revocation-table.ts';
import { sessionTable } from './session-table.ts';
import { settingTable } from './setting-table.ts';
import { statusChangeTable } from './status-change-table.ts';
import { statusListTable } from './status-list-table.ts';
import { ticketTable } from './ticket-table.ts';
import { tpmRootTable } from './tpm-root-table.ts';

/** All tables over one scope. Each is made when first asked for: a transaction uses a few of them. */
export function sqlTables(scope: QueryScope): Tables {
  return new SqlTables(scope);
}

class SqlTables implements Tables {
  readonly #scope: QueryScope;
  readonly #made: Partial<Tables> = {};

  constructor(scope: QueryScope) {
    this.#scope = scope;
  }

  get devices() {
    return (this.#made.devices ??= deviceTable(this.#scope));
  }
  get groups() {
    return (this.#made.groups ??= groupTable(this.#scope));
  }
  get tickets() {
    return (this.#made.tickets ??= ticketTable(this.#scope));
  }
  get enrollments() {
    return (this.#made.enrollments ??= enrollmentTable(this.#scope));
  }
  get enrollmentRequests() {
    return (this.#made.enrollmentRequests ??= enrollmentRequestTable(this.#scope));
  }
  get manufacturerCas() {
    return (this.#made.manufacturerCas ??= manufacturerCaTable(this.#scope));
  }
  get registrars() {
    return (this.#made.registrars ??= registrarTable(this.#scope));
  }
  get attempts() {
    return (this.#made.attempts ??= attemptTable(this.#scope));
  }
  get certificates() {
    return (this.#made.certificates ??= certificateTable(this.#scope));
  }
  get revocations() {
    return (this.#made.revocations ??= revocationTable(this.#scope));
  }
  get crls() {
    return (this.#made.crls ??= crlTable(this.#scope));
  }
  get sessions() {
    return (this.#made.sessions ??= sessionTable(this.#scope));
  }
  get notices() {
    return (this.#made.notices ??= noticeTable(this.#scope));
  }
  get endorsements() {
    return (this.#made.endorsements ??= endorsementTable(this.#scope));
  }
  get challenges() {
    return (this.#made.challenges ??= challengeTable(this.#scope));
  }
  get ekAllowList() {
    return (this.#made.ekAllowList ??= ekAllowListTable(this.#scope));
  }
  get tpmRoots() {
    return (this.#made.tpmRoots ??= tpmRootTable(this.#scope));
  }
  get audit() {
    return (this.#made.audit ??= auditTable(this.#scope));
  }
  get statusChanges() {
    return (this.#made.statusChanges ??= statusChangeTable(this.#scope));
  }
  get statusLists() {
    return (this.#made.statusLists ??= statusListTable(this.#scope));
  }
  get renewalCampaigns() {
    return (this.#made.renewalCampaigns ??= renewalCampaignTable(this.#scope));
  }
  get revocationJobs() {
    return (this.#made.revocationJobs ??= revocationJobTable(this.#scope));
  }
  get caGenerations() {
    return (this.#made.caGenerations ??= caGenerationTable(this.#scope));
  }
  get identityAlarms() {
    return (this.#made.identityAlarms ??= identityAlarmTable(this.#scope));
  }
  get leases() {
    return (this.#made.leases ??= leaseTable(this.#scope));
  }
  get settings() {
    return (this.#made.settings ??= settingTable(this.#scope));
  }
}
