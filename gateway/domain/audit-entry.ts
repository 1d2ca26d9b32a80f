import type { AuditEvent } from '#gateway/contract/operator-api.ts';

type AuditAction =
  | 'gateway.started'
  | 'device.added'
  | 'device.revoked'
  | 'device.retired'
  | 'device.held'
  | 'device.released'
  | 'device.quarantined'
  | 'device.quarantine-released'
  | 'alarm.raised'
  | 'alarm.resolved'
  | 'clone-rules.changed'
  | 'revocation.started'
  | 'revocation.paused'
  | 'revocation.resumed'
  | 'revocation.cancelled'
  | 'revocation.finished'
  | 'device.renew-ordered'
  | 'renewal.replanned'
  | 'renewal.started'
  | 'renewal.paused'
  | 'renewal.resumed'
  | 'renewal.aborted'
  | 'renewal.retried'
  | 'renewal.finished'
  | 'device.hardware-replaced'
  | 'device.owner-given'
  | 'ticket.created'
  | 'ticket.revoked'
  | 'ticket.claimed'
  | 'group.added'
  | 'group.changed'
  | 'tpm-root.added'
  | 'tpm-root.removed'
  | 'ek.allowed'
  | 'ek.disallowed'
  | 'manufacturer-ca.added'
  | 'manufacturer-ca.removed'
  | 'registrar.added'
  | 'registrar.removed'
  | 'enrollment.waiting'
  | 'enrollment.request-approved'
  | 'enrollment.request-refused'
  | 'enrollment.request-expired'
  | 'enrollment.approved'
  | 'enrollment.refused'
  | 'enrollment.abandoned'
  | 'certificate.issued'
  | 'certificate.given-again'
  | 'certificate.activated'
  | 'certificate.superseded'
  | 'certificate.lapsed'
  | 'certificate.rolled-back'
  | 'certificate.expired'
  | 'certificate.expiry-taken-back'
  | 'certificate.revoked'
  | 'certificate.released'
  | 'certificate.recovered'
  | 'store.restored'
  | 'session.opened'
  | 'session.refused'
  | 'session.closed'
  | 'enrollment-session.opened'
  | 'notice.queued'
  | 'notice.acknowledged'
  | 'crl.signed'
  | 'ca.announced'
  | 'ca.activated'
  | 'ca.tainted'
  | 'ca.retired'
  | 'ca.discarded';

/** One decision: who did what to whom, and how it ended. Never holds a secret. */
export type AuditEntry = Omit<AuditEvent, 'id' | 'action'> & { action: AuditAction };

export type AuditFacts = { at: number; actor: string; action: AuditAction; subject: string } & Partial<
  Pick<AuditEntry, 'attemptId' | 'outcome' | 'code' | 'detail'>
>;

export function auditEntry({ attemptId, outcome, code, detail, ...rest }: AuditFacts): AuditEntry {
  return {
    ...rest,
    attemptId: attemptId ?? null,
    outcome: outcome ?? 'ok',
    code: code ?? null,
    detail: detail ?? null,
  };
}
