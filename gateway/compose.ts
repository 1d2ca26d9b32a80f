import { mkdir, rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { statusPathsOf } from '#ca/issuance/issuer.ts';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { DATA_FOLDER, type ReadyFile } from '#gateway/contract/data-folder.ts';
import { anchorsOf, certificatesAbove, chainAbove } from '#gateway/domain/ca-trust.ts';
import { BackgroundWrites } from '#gateway/operations/background-writes.ts';
import { CaTrustBook } from '#gateway/operations/ca-trust-book.ts';
import { checkHealth } from '#gateway/operations/check-health.ts';
import { followStatusChanges } from '#gateway/operations/follow-other-processes.ts';
import { keepRenewalPlan, planUnplanned } from '#gateway/operations/keep-renewal-plan.ts';
import { RevocationPublisher } from '#gateway/operations/publish-revocations.ts';
import { RevocationJobs } from '#gateway/operations/revocation-jobs.ts';
import { TrustReports, tellFleetTrust } from '#gateway/operations/tell-trust.ts';
import { WindowTeller } from '#gateway/operations/tell-window.ts';
import { WorkLeases } from '#gateway/operations/work-leases.ts';
import type { Log } from '#gateway/ports/log.ts';
import { bindEstOperations } from './bind-est-operations.ts';
import { bindMqttOperations } from './bind-mqtt-operations.ts';
import { bindOperatorOperations } from './bind-operator-operations.ts';
import { type GatewayConfig, inDataFolder, serverNames } from './config.ts';
import { addressOf } from './door-address.ts';
import { startEstDoor } from './est/est-door.ts';
import { CaTrustFollower, keepTrustFiles } from './follow-ca-trust.ts';
import { LateBroker } from './late-broker.ts';
import { describeMqtt } from './mqtt/asyncapi/describe-mqtt.ts';
import { startMqttDoor } from './mqtt/mqtt-door.ts';
import { openOcspService } from './ocsp-service.ts';
import { openMemory } from './open-memory.ts';
import { startLocalOperatorDoor, startOperatorDoor } from './operator/operator-doors.ts';
import { OwnIdentities } from './own-identities.ts';
import { recover } from './recover.ts';
import { RecurringWork } from './recurring-work.ts';
import { requireFreePorts } from './require-free-ports.ts';
import { rootCrlFiles } from './root-crl-files.ts';
import { lockDataFolder, writeRunFile } from './run-files.ts';
import { createNoticeSigner } from './runtime/file-notice-signer.ts';
import { createHttpsPolicyWebhook } from './runtime/https-policy-webhook.ts';
import { nodeRandomness } from './runtime/node-randomness.ts';
import { handleOneAtATime } from './runtime/one-at-a-time.ts';
import { keepPeerChains } from './runtime/peer-chains.ts';
import { createPinoLog } from './runtime/pino-log.ts';
import { listenPrivately } from './runtime/private-socket.ts';
import { createPrometheusMetrics } from './runtime/prometheus-metrics.ts';
import { statusListFiles } from './runtime/status-list-files.ts';
import { systemClock } from './runtime/system-clock.ts';
import { loadWebhookOptions } from './runtime/webhook-options.ts';
import { scheduleWork } from './schedule-work.ts';
import { prepareSockets } from './socket-folder.ts';
import { keepAuthorityCertificates, startAuthority, waitForAuthority } from './start-authority.ts';
import { openSqliteStore } from './store/sqlite-store.ts';
import { succeedWorker } from './succeed-worker.ts';
import { mqttTls, serverTls } from './tls-material.ts';
import { TrustedManufacturers } from './trusted-manufacturers.ts';
import { startStatusDoor } from './validation/status-door.ts';

export type RunningGateway = { ready: ReadyFile; stop(): Promise<void> };

/** Of the operator API. */
const VERSION = '0.1.0';
/** Of 16 connects a moment, a commit for each would have the event loop wait for the disk half of its time. */
const SESSION_RECORDS = { delayMs: 20, batchSize: 128 };
const SHORT_LEASE_MS = 10_000;
const HOUR_MS = 3_600_000;

/**
 * Joins ports to adapters and opens the doors, in an order in which each part finds what it needs; whatever was
 * started is stopped again when a later part fails.
 */
export async function startGateway(config: GatewayConfig): Promise<RunningGateway> {
  const log = createPinoLog({ level: config.logLevel, name: 'gatehouse' });
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const step of stops.splice(0).toReversed()) await step();
  };
  try {
    return { ready: await start(config, log, stops), stop };
  } catch (error) {
    await stop().catch((failure: unknown) =>
      log.error('stopping after a failed start failed', { error: String(failure) }),
    );
    throw error;
  }
}

async function start(config: GatewayConfig, log: Log, stops: (() => Promise<void>)[]): Promise<ReadyFile> {
  keepPeerChains();
  const clock = systemClock;
  const random = nodeRandomness;
  const metrics = createPrometheusMetrics();
  await mkdir(config.data, { recursive: true, mode: 0o700 });
  const sockets = await prepareSockets(config.data);

  const lock = lockDataFolder(config);
  stops.push(async () => lock.release());
  await requireFreePorts(config);
  const store = await openSqliteStore(inDataFolder(config, DATA_FOLDER.database));
  stops.push(() => store.close());
  const workerFile = inDataFolder(config, DATA_FOLDER.worker);
  const worker = await succeedWorker({ store, random }, workerFile);
  // After a clean end nobody has to take anything over.
  stops.push(() => rm(workerFile, { force: true }));
  const leases = new WorkLeases({ store, clock, log }, { holder: worker });
  // Not long: devices wait for their turn, and revocations for their list, when another process takes it up.
  const shortLeases = new WorkLeases({ store, clock, log }, { holder: worker, lifeMs: SHORT_LEASE_MS });
  stops.push(() => shortLeases.release());
  stops.push(() => leases.release());
  const background = new BackgroundWrites({ store, log }, SESSION_RECORDS);
  stops.push(() => background.flush());
  const statusDoor = await startStatusDoor(
    { clock, log, metrics },
    { host: config.host, port: config.statusPort, keepOrder: handleOneAtATime },
  );
  stops.push(() => statusDoor.close());
  const status = addressOf('http', config, statusDoor.address.port);

  const authority = await startAuthority(config, log, { socket: sockets.authority, statusUrl: status.url, stops });
  const description = await waitForAuthority(authority);
  await keepAuthorityCertificates(config, description);
  const trustBook = new CaTrustBook({ store, authority, clock });
  await trustBook.load();

  const identities = new OwnIdentities(
    { store, authority, clock, random, log },
    {
      folder: inDataFolder(config, DATA_FOLDER.gatewayKeys),
      issuer: () => trustBook.trust.active.certificate.der,
      ...serverNames(config),
    },
  );
  await identities.refresh();
  const signer = createNoticeSigner(() => {
    const { key, certificate } = identities.noticeSigner;
    const chain = [certificate, ...chainAbove(trustBook.trust, certificate.authorityKeyId)];
    return { privateKey: key, certificates: chain.map(({ der }) => der) };
  });

  const webhook = createHttpsPolicyWebhook(
    await loadWebhookOptions({
      ca: inDataFolder(config, DATA_FOLDER.webhookCa),
      secret: inDataFolder(config, DATA_FOLDER.webhookSecret),
    }),
  );
  const broker = new LateBroker();
  const shared = {
    store,
    authority,
    clock,
    random,
    log,
    metrics,
    background,
    webhook,
    broker,
    signer,
    ...openMemory({ store, clock }),
    trustBook,
    trustDomain: description.trustDomain,
    /** The first issuer's has no name in it. */
    crlUrlOf: (keyId: string) =>
      `${status.url}${statusPathsOf(keyId === trustBook.trust.issuers[0]?.keyId ? undefined : keyId).crl}`,
    readRootCrls: rootCrlFiles(
      inDataFolder(config, DATA_FOLDER.rootCrl),
      () => anchorsOf(trustBook.trust).map(({ der }) => der),
      log,
    ),
    crlValidity: config.crlHours * HOUR_MS,
    archive: statusListFiles(inDataFolder(config, DATA_FOLDER.statusLists)),
  };
  const revocations = new RevocationPublisher({ ...shared, leases: shortLeases });
  const revocationJobs = new RevocationJobs({ ...shared, revocations }, worker);
  const ocsp = await openOcspService(shared, { folder: inDataFolder(config, DATA_FOLDER.gatewayKeys), description });
  revocations.onChanged = async (changes) => {
    ocsp.responder.forget(changes.map(({ serial }) => serial));
    await followStatusChanges(shared, changes).catch((error: unknown) =>
      log.error('revocations of another process not followed', { error: String(error) }),
    );
  };
  const trustReports = new TrustReports(shared);
  const windows = new WindowTeller(shared);
  const work = new RecurringWork(log);

  const knowsJournal = await recover(shared);
  await shared.cloneRules.load(store);
  await shared.renewals.load();
  await planUnplanned(shared);
  // Before a device can ask: the windows that passed while this gateway was down are planned anew.
  await leases.run('renewal plan', async () => void (await keepRenewalPlan(shared)));
  // Without a CRL the gateway still knows who is revoked; readiness says what is wrong and the sweep tries again.
  await revocations.publish().catch((error: unknown) => log.error('no CRL at the start', { error: String(error) }));

  const caCertificatesFor = (certificate: Buffer) =>
    certificatesAbove(trustBook.trust, parseCertificate(certificate).authorityKeyId).map(({ der }) => der);
  const manufacturers = new TrustedManufacturers(store, () => reloadDeviceDoors());
  await manufacturers.load();
  const est = await startEstDoor(
    {
      clock,
      log,
      metrics,
      randomness: random,
      ...bindEstOperations(shared),
      mqttAddress: () => ({ port: mqtt.address.port }),
    },
    {
      host: config.host,
      port: config.estPort,
      tls: serverTls(identities, trustBook.trust),
      manufacturers: manufacturers.certificates,
      keepOrder: handleOneAtATime,
    },
  );
  stops.push(() => est.close());
  const mqtt = await startMqttDoor(
    { clock, log, ...bindMqttOperations({ ...shared, trustReports, windows, caCertificatesFor }) },
    {
      listen: { host: config.host, port: config.mqttPort },
      tls: mqttTls(identities, trustBook.trust, manufacturers.certificates),
    },
  );
  stops.push(() => mqtt.close());
  broker.attach(mqtt.broker);
  const reloadDeviceDoors = () => {
    est.reload(serverTls(identities, trustBook.trust), manufacturers.certificates);
    mqtt.reload(mqttTls(identities, trustBook.trust, manufacturers.certificates));
  };

  const health = {
    store,
    authority,
    clock,
    ownCertificates: () => [...identities.describe(), ...ocsp.describe()],
    revocations,
    trustBook,
    readRootCrls: shared.readRootCrls,
  };
  const operations = bindOperatorOperations({
    ...shared,
    ...health,
    revocationJobs,
    ownIssuers: () =>
      [identities.server, identities.noticeSigner].map(({ certificate }) => certificate.authorityKeyId ?? ''),
    onManufacturerCasChanged: manufacturers.changed,
    doors: {
      est: { host: config.publicHost, port: est.address.port },
      mqtt: { host: config.publicHost, port: mqtt.address.port },
    },
    join: {
      host: config.publicHost,
      port: est.address.port,
      get rootSha256() {
        return trustBook.trust.active.root.sha256;
      },
    },
  });
  const mqttContract = describeMqtt({
    version: VERSION,
    address: { host: config.publicHost, port: mqtt.address.port },
  });
  const operatorDeps = { operations, clock, log, version: VERSION, mqttContract };
  const operatorDoor = await startOperatorDoor(operatorDeps, {
    host: config.host,
    port: config.operatorPort,
    tls: serverTls(identities, trustBook.trust),
    keepOrder: handleOneAtATime,
  });
  stops.push(() => operatorDoor.close());
  const localDoor = await startLocalOperatorDoor(operatorDeps, {
    listen: (server) => listenPrivately(server, sockets.operator),
    user: userInfo().username,
  });
  stops.push(() => localDoor.close());
  const trustFollower = new CaTrustFollower(
    trustBook,
    { config, log },
    {
      refreshIdentities: () => identities.refresh(),
      reloadDoors: () => {
        reloadDeviceDoors();
        operatorDoor.reload(serverTls(identities, trustBook.trust));
      },
      tellFleet: () => tellFleetTrust(shared),
      publishStatus: async () => {
        await ocsp.refresh();
        await revocations.publish();
      },
    },
  );
  // Once more: an activation that a crash has broken off may have been found out only now.
  await trustBook.load();
  await keepTrustFiles(config, trustBook);
  tellFleetTrust(shared);
  statusDoor.setReady({
    describeAuthority: () => trustBook.description,
    findList: (scopeName, issuerKeyId) => revocations.lists.findNamed(scopeName, issuerKeyId),
    readRootCrls: health.readRootCrls,
    answerOcsp: (request) => ocsp.responder.answer(request),
    checkHealth: () => checkHealth(health),
    mqttContract,
  });
  metrics.observe({
    sessions: () => broker.sessions().length,
    unfinishedNotices: () => store.read.notices.countUnfinished(),
    crl: async () => revocations.lists.full,
    isAuthorityUp: () => authority.describe().then(() => true),
  });

  await scheduleWork(work, shared, {
    leases,
    shortLeases,
    revocations,
    revocationJobs,
    ocsp,
    trustReports,
    windows,
    trustFollower,
    knowsJournal,
    expiry: { ...health, log },
    refreshOwn: async () => {
      await trustBook.load();
      if (!(await identities.refresh())) return;
      reloadDeviceDoors();
      operatorDoor.reload(serverTls(identities, trustBook.trust));
    },
  });
  stops.push(() => revocationJobs.stop());
  stops.push(() => work.stop());

  const doors = {
    est: addressOf('https', config, est.address.port),
    mqtt: addressOf('mqtts', config, mqtt.address.port),
    status,
    operator: addressOf('https', config, operatorDoor.address.port),
  };
  await writeRunFile(config, { pid: process.pid, operatorSocket: sockets.operator, doors }, stops);
  return {
    pid: process.pid,
    dataDir: config.data,
    rootSha256: trustBook.trust.active.root.sha256,
    rootPem: inDataFolder(config, DATA_FOLDER.rootCertificate),
    ...doors,
  };
}
