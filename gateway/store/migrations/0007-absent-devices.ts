import type { Migration } from './migration.ts';

/** Campaigns end without the devices that are away, and those in one state are found without looking at the others. */
export const absentDevices: Migration = {
  number: 7,
  name: 'absent-devices',
  async up(db) {
    await db.schema
      .alterTable('renewal_campaigns')
      // A day: what campaigns that run already are given.
      .addColumn('give_up_seconds', 'bigint', (c) => c.notNull().defaultTo(86_400))
      .execute();
    await db.schema.alterTable('renewal_campaigns').addColumn('last_turn_at', 'bigint').execute();
    await db.schema
      .createIndex('renewal_campaign_items_campaign_id_state_device_id')
      .on('renewal_campaign_items')
      .columns(['campaign_id', 'state', 'device_id'])
      .execute();
  },
};
