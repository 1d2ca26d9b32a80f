import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * Devices are found by what a person takes for the same name or hardware serial. Not unique: a database from before may
 * hold such pairs, and has to start.
 */
export const lookAlikes: Migration = {
  number: 5,
  name: 'look-alikes',
  async up(db) {
    await db.schema.createIndex('devices_name_alike').on('devices').expression(sql`lower(device_id)`).execute();
    await db.schema
      .createIndex('devices_hardware_serial_alike')
      .on('devices')
      .expression(sql`lower(replace(hardware_serial, ' ', ''))`)
      .execute();
    await db.schema.dropIndex('devices_hardware_serial').execute();
  },
};
