import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What recurring work asks for stands in the order in which it is asked. */
export const due: Migration = {
  number: 6,
  name: 'due',
  async up(db) {
    await db.schema
      .createIndex('enrollment_requests_state_expires_at')
      .on('enrollment_requests')
      .columns(['state', 'expires_at'])
      .execute();
    // An issuer's certificates page by page: with the state between the two, each page was sorted out of all of them.
    await db.schema.dropIndex('certificates_issuer_key_id_state_serial').execute();
    await db.schema
      .createIndex('certificates_issuer_key_id_serial')
      .on('certificates')
      .columns(['issuer_key_id', 'serial'])
      .execute();
    // What the authority has signed is looked up by its serial after a restore.
    await db.schema.createIndex('enrollments_serial').on('enrollments').column('serial').execute();
    // By minute: the calendar of renewals is counted out of the index alone, without sorting.
    await sql`
      create index certificates_renew_minute on certificates (state, (renew_from / 60000))
      where state = 'active'`.execute(db);
  },
};
