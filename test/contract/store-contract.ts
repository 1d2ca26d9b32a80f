import type { OpenStore } from './open-store.ts';
import { describeCampaignTables } from './store-contract-campaigns.ts';
import { describeCertificateTables } from './store-contract-certificates.ts';
import { describeDeviceTables } from './store-contract-devices.ts';
import { describeEnrollmentTables } from './store-contract-enrollment.ts';
import { describeHouseTables } from './store-contract-house.ts';
import { describeRevocationTables } from './store-contract-revocations.ts';
import { describeSessionTables } from './store-contract-sessions.ts';
import { describeStatusTables } from './store-contract-status.ts';
import { describeTpmTables } from './store-contract-tpm.ts';
import { describeTransactions } from './store-contract-transactions.ts';

/** What every store has to do, whatever database is under it. */
export function describeStore(name: string, open: OpenStore): void {
  describeDeviceTables(name, open);
  describeCertificateTables(name, open);
  describeSessionTables(name, open);
  describeHouseTables(name, open);
  describeTpmTables(name, open);
  describeEnrollmentTables(name, open);
  describeRevocationTables(name, open);
  describeCampaignTables(name, open);
  describeStatusTables(name, open);
  describeTransactions(name, open);
}
