import type { TLSSocket } from 'node:tls';
import type { Client } from 'aedes';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { accessHooks } from './access-hooks.ts';
import { type BrokerClient, holdForConnect, takeOverClose } from './broker-client.ts';
import { ConnectionPersistence } from './connection-persistence.ts';
import { CsrDesk } from './csr-desk.ts';
import { assertKnownAedes, DeviceBroker } from './device-broker.ts';
import { interceptReports } from './device-reports.ts';
import type { AcceptedPeer } from './judge-peer.ts';
import { DEFAULT_MQTT_LIMITS, type MqttLimits } from './mqtt-limits.ts';
import { pacePackets } from './packet-pace.ts';
import { guardPacketSize } from './packet-size-guard.ts';
import { peerChainOf } from './peer-chain.ts';
import { fingerprintOf, RefusalLimiter } from './refusal-limiter.ts';
import { sendMessage } from './send-message.ts';
import { endSession, type Session, whenClosed } from './session.ts';
import { answerConnect } from './session-admission.ts';
import { sessionBroker } from './session-broker.ts';
import { followBrokerEvents } from './session-events.ts';
import type { SessionOperations } from './session-operations.ts';
import { SessionTable } from './session-table.ts';
import { type ListenOptions, TlsDoor } from './tls-door.ts';
import type { DoorTls } from './tls-options.ts';

export type MqttDoorDeps = SessionOperations & { clock: Clock; log: Log };

export type MqttDoorOptions = { listen: ListenOptions; tls: DoorTls; limits?: Partial<MqttLimits> };

export type MqttDoor = {
  address: { host: string; port: number };
  broker: Broker;
  /** New connections see the new certificate; sessions stay. @throws when key and certificate do not fit together. */
  reload(tls: DoorTls): void;
  /** Sockets in any state, those waiting for TLS, and handshakes going on. */
  counts(): { sockets: number; waiting: number; handshakes: number };
  /** Resolves when every socket is closed. */
  close(): Promise<void>;
};

/** Sessions looked at again per sweep, in case a revocation did not reach them. */
const PATROL = 500;

/** Longest a session may stay between being marked as revoked and being closed, milliseconds. */
const REVOKED_GRACE_MS = 5_000;

/** Opens the MQTT door: TLS, admission, the session table and aedes behind them. @throws when it cannot listen. */
export async function startMqttDoor(deps: MqttDoorDeps, options: MqttDoorOptions): Promise<MqttDoor> {
  const { clock, log } = deps;
  const limits = { ...DEFAULT_MQTT_LIMITS, ...options.limits };
  const table = new SessionTable(clock.now(), limits);
  const limiter = new RefusalLimiter(limits);
  const sessions = new WeakMap<object, Session>();
  const sessionOf = (client: Client): Session | undefined => sessions.get(client);
  const desk = new CsrDesk({
    operations: deps,
    table,
    limits,
    clock,
    log,
    send: (session, topic, payload) => sendMessage(session, topic, payload, limits),
  });
  const shared = { table, limiter, sessionOf, desk, limits, clock, log, operations: deps };

  const aedes = new DeviceBroker(
    {
      ...accessHooks(shared),
      persistence: new ConnectionPersistence(),
      // 0: no limit. With one, a frozen subscriber holds up everybody's messages until it is dropped.
      concurrency: 0,
      drainTimeout: limits.drainTimeoutMs,
      connectTimeout: limits.connectTimeoutMs,
      // Five of them are ours; the rest is room for an application's own.
      maxTopicLevels: 16,
      maxInflightInbound: 16,
    },
    interceptReports(shared),
  );
  await aedes.listen();
  assertKnownAedes(aedes);

  const onSecure = (socket: TLSSocket, address: string, { certificate, hasExpired }: AcceptedPeer): void => {
    socket.on('error', ignore);
    if (socket.destroyed) return;
    const fingerprint = limiter.isEmpty ? undefined : fingerprintOf(certificate.raw);
    if (fingerprint !== undefined && limiter.isBlocked(fingerprint, clock.monotonic())) {
      socket.destroy();
      const serial = certificate.serialNumber.toLowerCase();
      if (limiter.isToBeTold(fingerprint)) log.info('connection of a refused certificate cut', { address, serial });
      return;
    }
    const shown = { der: certificate.raw, chain: () => peerChainOf(certificate), hasExpired };
    const session = table.open(socket, address, shown);
    socket.once('close', () => {
      closed(deps, table, session);
      // Its subscriptions end and its will is published, now that the table knows that it has gone.
      session.client?.close();
    });
    const client = aedes.handle(socket) as BrokerClient;
    session.client = client;
    sessions.set(client, session);
    takeOverClose(client);
    guardPacketSize(client, limits.maxPacketBytes);
    pacePackets(client, limits, clock, () => {
      const deviceId = session.member?.live.deviceId;
      log.warn('a session sends more than its share, and is read more slowly', { deviceId, address });
    });
    holdForConnect(client, (packet) => answerConnect(admission, session, client, packet));
  };
  const door = new TlsDoor(options.tls, {
    limits,
    clock,
    log,
    events: { onSecure, onRefused: (address, refusal) => deps.recordSessionRefused({ address, ...refusal }) },
  });
  const admission = { ...shared, onAdmitted: (address: string) => door.admitted(address) };
  followBrokerEvents(aedes, shared);

  const address = await door.listen(options.listen).catch(async (error: unknown) => {
    await closeBroker(aedes);
    throw error;
  });
  const sweeper = setInterval(() => {
    try {
      door.sweep();
      limiter.sweep(clock.monotonic());
      desk.sweep(clock.monotonic());
      for (const { session, reason } of table.enrollments.overdue(clock.monotonic(), limits, deps.isStillAdmitted)) {
        endSession(session, reason);
      }
      for (const session of table.takeExpired(clock.now())) endSession(session, 'certificate-expired');
      for (const session of table.patrol(PATROL)) patrol(deps, session);
    } catch (error) {
      log.error('mqtt sweep failed', { error });
    }
  }, limits.sweepMs);
  sweeper.unref();

  return {
    address,
    broker: sessionBroker({ ...shared, aedes }),
    reload: (tls) => door.reload(tls),
    counts: () => door.counts(),
    async close() {
      clearInterval(sweeper);
      door.stopListening();
      const open = [...table.all()];
      for (const session of open) {
        if (session.member !== undefined) session.member.muted = true;
        endSession(session, 'gateway-stopped');
      }
      await Promise.all(open.map(whenClosed));
      await door.close();
      await closeBroker(aedes);
    },
  };
}

function closed(deps: MqttDoorDeps, table: SessionTable, session: Session): void {
  table.remove(session);
  const { member, client } = session;
  if (member === undefined) return;
  const reason = session.endReason ?? (client?._disconnected === true ? 'disconnected' : 'connection-lost');
  if (member.kind === 'enrollment') {
    deps.recordEnrollmentSessionClosed({ ...member.live, grounds: member.grant.grounds }, reason);
    return;
  }
  const { deviceId, serial, since } = member.live;
  deps.recordSessionClosed({ deviceId, serial, since }, reason);
}

/** A session whose revocation was not carried out to the end. */
function patrol({ isStillAdmitted, clock }: MqttDoorDeps, session: Session): void {
  const { member } = session;
  if (member?.kind !== 'device' || isStillAdmitted(member.live.serial)) return;
  if (member.revokedSince !== undefined && clock.monotonic() - member.revokedSince < REVOKED_GRACE_MS) return;
  member.muted = true;
  endSession(session, 'revoked');
}

function closeBroker(aedes: DeviceBroker): Promise<void> {
  return new Promise((resolve) => aedes.close(() => resolve()));
}

function ignore(): void {}
