import Sqlite from 'better-sqlite3';
import { type CompiledQuery, Kysely } from 'kysely';
import { expect, it } from 'vitest';
import type { Tables } from '#gateway/ports/store.ts';
import { QueryPlans, QueryScope } from '#gateway/store/query-scope.ts';
import type { Database } from '#gateway/store/schema.ts';
import { sqlTables } from '#gateway/store/sql-tables.ts';
import { SqliteConnection, sqliteDialect } from '#gateway/store/sqlite-connection.ts';
import {
  addDevices,
  campaignOf,
  certificateOf,
  deviceNamed,
  enrollmentOf,
  noticeOf,
  revocationOf,
  serialOf,
  ticketOf,
} from '#test/contract/store-records.ts';
import { openTemporaryStore } from '#test/fakes/temporary-store.ts';

const device = deviceNamed('press-7').deviceId;
const page = { limit: 50 };

/** Everything that is asked while the gateway serves, each in every form it takes. */
const QUESTIONS: Record<string, (tables: Tables) => Promise<unknown>> = {
  'devices.find': ({ devices }) => devices.find(device),
  'devices.update': ({ devices }) => devices.update(device, { state: 'enrolled' }),
  'devices.takeNoticeSeq': ({ devices }) => devices.takeNoticeSeq(device, 1),
  'devices.list': ({ devices }) => devices.list({ ...page, after: 'a' }),
  'devices.list of a group': ({ devices }) => devices.list({ ...page, after: 'a', group: 'default' }),
  'devices.list in a state': ({ devices }) => devices.list({ ...page, after: 'a', state: 'enrolled' }),
  'devices.listIds': ({ devices }) => devices.listIds({ ...page, after: 'a', state: 'quarantined' }),
  'groups.find': ({ groups }) => groups.find('default'),
  'tickets.find': ({ tickets }) => tickets.find('t-1'),
  'tickets.findBySecret': ({ tickets }) => tickets.findBySecret('x'),
  'tickets.listByDevice': ({ tickets }) => tickets.listByDevice(device),
  'tickets.list': ({ tickets }) => tickets.list(page),
  'tickets.list after one': ({ tickets }) => tickets.list({ ...page, after: 't-1' }),
  'enrollments.find': ({ enrollments }) => enrollments.find('a-1'),
  'enrollments.listByKey': ({ enrollments }) => enrollments.listByKey(device, 'x'),
  'enrollments.hasSerial': ({ enrollments }) => enrollments.hasSerial(serialOf(1)),
  'enrollments.listUnfinished': ({ enrollments }) => enrollments.listUnfinished(10),
  'certificates.find': ({ certificates }) => certificates.find('00'),
  'certificates.update': ({ certificates }) => certificates.update(serialOf(1), { state: 'active' }),
  'certificates.listByDevice': ({ certificates }) => certificates.listByDevice(device),
  'certificates.listStanding': ({ certificates }) => certificates.listStanding(device),
  'certificates.listIssuedSince': ({ certificates }) => certificates.listIssuedSince(device, 1),
  'certificates.list': ({ certificates }) => certificates.list(page),
  'certificates.list after one': ({ certificates }) => certificates.list({ ...page, after: serialOf(1) }),
  'certificates.list of a device': ({ certificates }) =>
    certificates.list({ ...page, after: serialOf(1), deviceId: device }),
  'certificates.list in a state': ({ certificates }) =>
    certificates.list({ ...page, after: serialOf(1), state: 'active' }),
  'certificates.listDue': ({ certificates }) => certificates.listDue(1, 10),
  'certificates.listByRenewal': ({ certificates }) => certificates.listByRenewal(1, 9, 10),
  'certificates.listByRenewal after one': ({ certificates }) => certificates.listByRenewal(1, 9, 10, serialOf(1)),
  'certificates.countRenewals': ({ certificates }) => certificates.countRenewals(1, 9),
  'certificates.countRenewals of a group': ({ certificates }) => certificates.countRenewals(1, 9, 'default'),
  'certificates.countRenewalsByMinute': ({ certificates }) => certificates.countRenewalsByMinute(1, 9),
  'certificates.listByIssuer': ({ certificates }) => certificates.listByIssuer('k', page),
  'certificates.listAllByIssuer': ({ certificates }) => certificates.listAllByIssuer('k', page),
  'renewalCampaigns.find': ({ renewalCampaigns }) => renewalCampaigns.find('rc-1'),
  'renewalCampaigns.list': ({ renewalCampaigns }) => renewalCampaigns.list({ ...page, state: 'running' }),
  'renewalCampaigns.list after one': ({ renewalCampaigns }) =>
    renewalCampaigns.list({ ...page, state: 'running', after: 'rc-1' }),
  'renewalCampaigns.findItem': ({ renewalCampaigns }) => renewalCampaigns.findItem('rc-1', device),
  'renewalCampaigns.listDue': ({ renewalCampaigns }) => renewalCampaigns.listDue('rc-1', 1, 10),
  'renewalCampaigns.listBySerial': ({ renewalCampaigns }) => renewalCampaigns.listBySerial('00'),
  'renewalCampaigns.listItems': ({ renewalCampaigns }) => renewalCampaigns.listItems('rc-1', { ...page, after: 'a' }),
  'renewalCampaigns.listItems in a state': ({ renewalCampaigns }) =>
    renewalCampaigns.listItems('rc-1', { ...page, state: 'unreached' }),
  'renewalCampaigns.listItems in a state after one': ({ renewalCampaigns }) =>
    renewalCampaigns.listItems('rc-1', { ...page, state: 'unreached', after: 'a' }),
  'renewalCampaigns.hasItems': ({ renewalCampaigns }) => renewalCampaigns.hasItems('rc-1', 'waiting'),
  'revocations.find': ({ revocations }) => revocations.find(serialOf(1)),
  'revocations.setClosedAfter': ({ revocations }) => revocations.setClosedAfter([serialOf(1)], 5),
  'revocations.listForCrl': ({ revocations }) => revocations.listForCrl(1, page),
  'revocations.listForCrl after one': ({ revocations }) => revocations.listForCrl(1, { ...page, after: serialOf(1) }),
  'revocations.listNewest': ({ revocations }) => revocations.listNewest(10),
  'revocations.listUnexpiredSerials': ({ revocations }) => revocations.listUnexpiredSerials(1),
  'crls.latest': ({ crls }) => crls.latest(),
  'sessions.open': ({ sessions }) => sessions.open(device, { serial: 's', address: '::1', since: 1 }),
  'sessions.end': ({ sessions }) => sessions.end(device, { serial: 's', since: 1 }, 2, 'left'),
  'sessions.find': ({ sessions }) => sessions.find(device),
  'notices.find': ({ notices }) => notices.find('n-1'),
  'notices.update': ({ notices }) => notices.update('n-1', { state: 'done' }),
  'notices.listUnfinished': ({ notices }) => notices.listUnfinished(device, 1),
  'notices.listByDevice': ({ notices }) => notices.listByDevice(device, 10),
  'notices.listByDevice of a kind': ({ notices }) => notices.listByDevice(device, 10, 'renew'),
  'notices.prune': ({ notices }) => notices.prune(1, 10),
  'notices.expire': ({ notices }) => notices.expire(1),
  'notices.countUnfinished': ({ notices }) => notices.countUnfinished(),
  'endorsements.find': ({ endorsements }) => endorsements.find(device),
  'endorsements.findByEk': ({ endorsements }) => endorsements.findByEk('x'),
  'challenges.listByDevice': ({ challenges }) => challenges.listByDevice(device),
  'challenges.use': ({ challenges }) => challenges.use('c-1', 1),
  'challenges.remove': ({ challenges }) => challenges.remove('c-1'),
  'challenges.removeByDevice': ({ challenges }) => challenges.removeByDevice(device),
  'challenges.hasOutstanding': ({ challenges }) => challenges.hasOutstanding(9, 1),
  'challenges.removeExpired': ({ challenges }) => challenges.removeExpired(1),
  'ekAllowList.find': ({ ekAllowList }) => ekAllowList.find('x'),
  'ekAllowList.list': ({ ekAllowList }) => ekAllowList.list({ ...page, after: 'x' }),
  'tpmRoots.listBySubject': ({ tpmRoots }) => tpmRoots.listBySubject('x'),
  'tpmRoots.list': ({ tpmRoots }) => tpmRoots.list({ ...page, after: 'x' }),
  'revocations.remove': ({ revocations }) => revocations.remove(serialOf(1)),
  'revocationJobs.find': ({ revocationJobs }) => revocationJobs.find('r-1'),
  'revocationJobs.list in a state': ({ revocationJobs }) => revocationJobs.list({ ...page, state: 'running' }),
  'revocationJobs.listItems in a state': ({ revocationJobs }) =>
    revocationJobs.listItems('r-1', { ...page, state: 'waiting' }),
  'revocationJobs.updateItem': ({ revocationJobs }) =>
    revocationJobs.updateItem('r-1', serialOf(1), { state: 'revoked' }),
  'revocationJobs.countItems': ({ revocationJobs }) => revocationJobs.countItems('r-1'),
  'audit.list': ({ audit }) => audit.list({ ...page, after: '9' }),
  'audit.list about somebody': ({ audit }) => audit.list({ ...page, after: '9', subject: 'x', since: 1 }),
  'audit.list of an action': ({ audit }) => audit.list({ ...page, after: '9', action: 'x' }),
  'audit.list of an attempt': ({ audit }) => audit.list({ ...page, after: '9', attemptId: 'a-1' }),
  'identityAlarms.find': ({ identityAlarms }) => identityAlarms.find('al-1'),
  'identityAlarms.listOpenByDevice': ({ identityAlarms }) => identityAlarms.listOpenByDevice(device),
  'identityAlarms.list': ({ identityAlarms }) => identityAlarms.list(page),
  'identityAlarms.list in a state': ({ identityAlarms }) => identityAlarms.list({ ...page, state: 'open' }),
  'identityAlarms.list of a device': ({ identityAlarms }) => identityAlarms.list({ ...page, deviceId: device }),
  'enrollmentRequests.prune': ({ enrollmentRequests }) => enrollmentRequests.prune(1, 10),
  'enrollmentRequests.expire': ({ enrollmentRequests }) => enrollmentRequests.expire(1, 10),
  'enrollmentRequests.countWaiting': ({ enrollmentRequests }) => enrollmentRequests.countWaiting(),
  'attempts.prune': ({ attempts }) => attempts.prune(1, 1, 10),
  'renewalCampaigns.countItems': ({ renewalCampaigns }) => renewalCampaigns.countItems('rc-1'),
  'devices.listTrust': ({ devices }) => devices.listTrust({ ...page, endsAfter: 1 }),
  'statusChanges.append': ({ statusChanges }) =>
    statusChanges.append({ serial: serialOf(1), issuerKeyId: 'k', change: 'revoked', reason: 'x', at: 1, notAfter: 2 }),
  'statusChanges.listAfter': ({ statusChanges }) => statusChanges.listAfter(1, 10),
  'statusChanges.newestSeq': ({ statusChanges }) => statusChanges.newestSeq(),
  'statusChanges.prune': ({ statusChanges }) => statusChanges.prune(1, 1, 10),
  'statusLists.latest': ({ statusLists }) => statusLists.latest('full@k'),
  'statusLists.highestNumber': ({ statusLists }) => statusLists.highestNumber(),
  'statusLists.prune': ({ statusLists }) => statusLists.prune('full@k', 3),
  'leases.acquire': ({ leases }) => leases.acquire('sweep', 'one', 1, 2),
  'leases.release': ({ leases }) => leases.release('sweep', 'one'),
  'settings.get': ({ settings }) => settings.get('x'),
};

it('walks no table from end to end and sorts nothing, whatever is asked while serving', async () => {
  await using opened = await openTemporaryStore();
  await fill(opened.store);
  await opened.store.close();

  const connection = SqliteConnection.openWriter(opened.path, { busyMs: 100 });
  const asked: CompiledQuery[] = [];
  const db = new Kysely<Database>({ dialect: sqliteDialect(connection), log: ({ query }) => void asked.push(query) });
  const file = new Sqlite(opened.path, { readonly: true });
  const findings: string[] = [];
  try {
    const tables = sqlTables(new QueryScope(db, new QueryPlans()));
    for (const [question, ask] of Object.entries(QUESTIONS)) {
      asked.length = 0;
      await ask(tables);
      expect(asked.length, question).toBeGreaterThan(0);
      for (const { sql, parameters } of asked) {
        const steps = file.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...parameters) as { detail: string }[];
        for (const { detail } of steps) {
          // An ordered walk that stops at the limit is what a list without filters is.
          const walksInOrder = /^SCAN \w+ USING (?:COVERING )?INDEX/.test(detail) && sql.includes('limit');
          if (/TEMP B-TREE|^SCAN/.test(detail) && !walksInOrder) findings.push(`${question}: ${detail}: ${sql}`);
        }
      }
    }
  } finally {
    file.close();
    connection.close();
  }
  expect(findings).toEqual([]);
});

async function fill(store: Awaited<ReturnType<typeof openTemporaryStore>>['store']): Promise<void> {
  await addDevices(store, 'press-7');
  await store.write(async (tables) => {
    await tables.tickets.insert(ticketOf(device, 't-1'));
    await tables.enrollments.insert(enrollmentOf(device, 1));
    await tables.certificates.insert(certificateOf(device, 1));
    await tables.revocations.insert(revocationOf(1));
    await tables.notices.insert(noticeOf(device, 1));
    await tables.renewalCampaigns.insert(campaignOf('rc-1'));
  });
}
