import type { AuditEvent } from '#gateway/contract/operator-api.ts';
import type { AuditEntry } from '#gateway/domain/audit-entry.ts';
import type { PageOrder } from '#gateway/ports/page-order.ts';
import type { AuditTable } from '#gateway/ports/tables.ts';
import { type Parameter, prepared, type QueryScope } from './query-scope.ts';
import { inserted, type RecordColumns, selected } from './record-columns.ts';
import type { AuditColumns } from './schema.ts';

const ENTRY_COLUMNS = {
  at: 'at',
  actor: 'actor',
  action: 'action',
  subject: 'subject',
  attemptId: 'attempt_id',
  outcome: 'outcome',
  code: 'code',
  detail: 'detail',
} as const satisfies RecordColumns<AuditEntry, AuditColumns>;

const EVENT_COLUMNS = { id: 'id', ...ENTRY_COLUMNS } as const satisfies RecordColumns<AuditEvent, AuditColumns>;

const APPEND = prepared((db, p: Parameter<AuditEntry>) =>
  db.insertInto('audit_events').values(inserted(ENTRY_COLUMNS, p)),
);

export function auditTable(scope: QueryScope): AuditTable {
  return {
    async append(...entries: AuditEntry[]): Promise<void> {
      for (const entry of entries) await scope.run(APPEND, entry);
    },
    async list(
      page: PageOrder & { subject?: string; action?: string; attemptId?: string; since?: number },
    ): Promise<AuditEvent[]> {
      let query = scope.db.selectFrom('audit_events').select(selected(EVENT_COLUMNS));
      if (page.after !== undefined) {
        const after = Number(page.after);
        if (!Number.isSafeInteger(after)) return [];
        query = query.where('id', '<', after);
      }
      if (page.subject !== undefined) query = query.where('subject', '=', page.subject);
      if (page.action !== undefined) query = query.where('action', '=', page.action);
      if (page.attemptId !== undefined) query = query.where('attempt_id', '=', page.attemptId);
      if (page.since !== undefined) query = query.where('at', '>=', page.since);
      return query.orderBy('id', 'desc').limit(page.limit).execute();
    },
  };
}
