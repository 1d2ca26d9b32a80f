import { type AgentConfig, formatAddress } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { CONNACK_UNAVAILABLE } from '#device-agent/domain/connack.ts';
import type { ConnectOutcome, MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import { formatAgentState } from './agent-report.ts';
import { ApplicationDesk } from './application-desk.ts';
import { explainOutcome, KEEPALIVE_SECONDS } from './confirm-session.ts';
import { formatStatus } from './describe-status.ts';
import { FactBook } from './fact-book.ts';
import type { Identity } from './identity.ts';
import { locateBroker } from './locate-broker.ts';
import { NoticeInbox } from './notice-inbox.ts';
import { openAgentState } from './open-agent-state.ts';
import { findPrevious, hasExpired, removeSurplusGenerations, requestRenewal, rollBack } from './renew-certificate.ts';
import { RenewalKeeper, type Renewed } from './renewal-keeper.ts';
import { RenewalWays } from './renewal-ways.ts';
import type { AgentDeps, AgentEvent, AgentOptions, RunningAgent } from './running-agent.ts';
import { SessionKeeper } from './session-keeper.ts';
import { TimeKeeper } from './time-keeper.ts';

/** So many closed connections without CONNACK in a row, and the agent asks over HTTPS what is the matter. */
const ASK_AFTER_FAILURES = 3;

/**
 * The agent's whole life after enrollment: keeps a session, obeys signed notices, renews. No globals, so many may run
 * in one process. Resolves when it has started, not when it is connected.
 * @throws AgentError NOT_ENROLLED, STATE_BROKEN
 */
export async function runAgent(deps: AgentDeps, options: AgentOptions = {}): Promise<RunningAgent> {
  const { store, log, clock } = deps;
  const opened = await openAgentState(deps);
  const { anchors } = opened;
  let config: AgentConfig = opened.config;
  const { deviceId } = config;
  const topics = deviceTopics(deviceId);
  const time = await TimeKeeper.open(deps);
  await time.learn(opened.identity.certificate.notBefore, opened.identity.certificate.notAfter);
  const facts = await FactBook.open(deps);
  const desk = new ApplicationDesk(deviceId);
  const ways = new RenewalWays(deps);
  const emit = (event: AgentEvent) => options.onEvent?.(event);

  const inbox = await NoticeInbox.open(
    { ...deps, time, facts },
    {
      config,
      anchors,
      currentSerial: () => sessions.identity.certificate.serial,
      sendAck: (ack) => publishOnSession(topics.ack, JSON.stringify(ack)),
      onOrder: () => renewals.reconsider(),
      onRevoked: ({ reason, advice }) => {
        log.error('this device has been revoked', { reason, advice });
        emit({ kind: 'revoked' });
      },
    },
  );

  const sessions = new SessionKeeper(
    deps,
    {
      target: () => ({ config, trust: time.trust(anchors) }),
      hasExpired: (identity) => hasExpired(identity, time),
      findPrevious: async (current) =>
        // Revoked is revoked: no other certificate is looked for to get around it.
        facts.facts.revoked?.serial === current.certificate.serial
          ? undefined
          : findPrevious({ ...deps, time }, current),
      commit,
      fallBack,
      onSession,
      onSessionEnded: (detail) => {
        desk.detach();
        ways.detach();
        log.info('session ended', { detail });
        emit({ kind: 'disconnected', detail });
      },
      onFailure,
    },
    { identity: opened.identity, keepaliveSeconds: options.keepaliveSeconds ?? KEEPALIVE_SECONDS },
  );

  const renewals = new RenewalKeeper(
    { ...deps, time, inbox },
    {
      identity: () => sessions.identity,
      renew,
      onRenewed: async (renewed) => {
        emit({ kind: 'renewed', ...renewed });
        await runHook(renewed);
      },
      onFailed: async (error) => {
        sessions.start();
        emit({ kind: 'renewal-failed', error });
        await facts.noteError(error, time.now());
      },
      onPlanned: () => void reportState(),
    },
    { interrupted: opened.interrupted || opened.candidate !== undefined },
  );

  async function onSession(session: MqttSession, identity: Identity): Promise<void> {
    const { serial } = identity.certificate;
    log.info('connected', { gateway: formatAddress(config.mqtt), serial });
    session.onMessage((topic, payload) => {
      if (topic === topics.notice) void inbox.receive(payload);
      else if (topic === topics.certificate) ways.receive(payload);
      else desk.deliver(topic, payload);
    });
    const filters = [topics.notice, topics.certificate, ...desk.attach(session)];
    const denied = await session.subscribe(filters);
    if (denied.length > 0) log.error('the gateway denied subscriptions', { denied });
    ways.attach(session, config);
    await facts.update({ refused: undefined, revoked: undefined, lastError: undefined, lastConnectedAt: time.now() });
    await reportState();
    await inbox.flush();
    emit({ kind: 'connected', serial });
    await removeSurplusGenerations(deps);
  }

  /** The candidate works: one durable rename makes it the identity. */
  async function commit(candidate: Identity): Promise<void> {
    await store.switchTo(candidate.generation);
    log.info('switched to the new certificate', { serial: candidate.certificate.serial });
  }

  /** The gateway does not know the newer certificate any more, and knows the one before. */
  async function fallBack(previous: Identity, refused: Identity): Promise<void> {
    await store.switchTo(previous.generation);
    const [oldSerial, newSerial] = [refused.certificate.serial, previous.certificate.serial];
    log.warn('switched back to the certificate before', { refused: oldSerial, serial: newSerial });
    renewals.renewSoon();
    void runHook({ oldSerial, newSerial });
  }

  async function onFailure(
    outcome: Exclude<ConnectOutcome, { kind: 'connected' }>,
    identity: Identity,
    failures: number,
  ): Promise<void> {
    const error = explainOutcome(outcome);
    log.warn('no session', { outcome: outcome.kind, reason: error.message, failures });
    emit({ kind: 'connect-failed', outcome });
    const { serial } = identity.certificate;
    if (outcome.kind === 'refused' && outcome.code !== CONNACK_UNAVAILABLE)
      await facts.update({ refused: { serial, code: outcome.code, at: time.now() } });
    await facts.noteError(error, time.now());
    // CONNACK 5 is an answer. Anything else may also mean that MQTT has moved, or that our clock is wrong.
    const mayBeElsewhere = outcome.kind !== 'refused' && outcome.kind !== 'key-unusable';
    if (mayBeElsewhere && failures % ASK_AFTER_FAILURES === 0) await askGateway(identity);
  }

  /** The broker may have moved, and the clock may be wrong: the gateway says so over HTTPS, verified. */
  async function askGateway(identity: Identity): Promise<void> {
    const found = await locateBroker(deps, { config, trust: time.trust(anchors), identity }, stopping.signal);
    if (!found) return;
    await time.learn(found.time, found.servedUntil);
    if (found.mqtt.host === config.mqtt.host && found.mqtt.port === config.mqtt.port) return;
    config = { ...config, mqtt: found.mqtt };
    await store.writeRecord('agent', config);
  }

  async function renew(signal: AbortSignal): Promise<Renewed> {
    const before = sessions.identity;
    const renewing = { ...deps, time, facts };
    const asking = { config, anchors, identity: before };
    const chosen = ways.choose({ ...asking, trust: time.trust(anchors) });
    const candidate = await requestRenewal(renewing, { ...asking, ways: chosen }, signal);
    const proven = sessions.prove(candidate);
    // A candidate left by the run before is the first to connect.
    sessions.start();
    try {
      await proven;
    } catch (error) {
      if (asAgentError(error, 'STATE_BROKEN').code === 'CANDIDATE_REFUSED') await rollBack(renewing, candidate);
      throw error;
    }
    const { attemptId } = candidate.meta;
    const serials = { oldSerial: before.certificate.serial, newSerial: candidate.certificate.serial };
    return { ...serials, ...(attemptId === undefined ? {} : { attemptId }) };
  }

  async function runHook({ oldSerial, newSerial }: Pick<Renewed, 'oldSerial' | 'newSerial'>): Promise<void> {
    if (!deps.hook) return;
    const result = await deps.hook.run({
      GATEHOUSE_DEVICE_ID: deviceId,
      GATEHOUSE_SERIAL: newSerial,
      GATEHOUSE_OLD_SERIAL: oldSerial,
    });
    log.info('hook ended', result);
    await facts.update({ hook: { ...result, at: time.now() } });
    await reportState();
  }

  function publishOnSession(topic: string, payload: string): Promise<void> {
    const { session } = sessions;
    if (!session) return Promise.reject(new AgentError('GATEWAY_UNREACHABLE', 'there is no session now'));
    return session.publish(topic, payload);
  }

  async function reportState(): Promise<void> {
    const state = formatAgentState(sessions.identity, {
      connected: true,
      clock: clock.now(),
      nextRenewalAt: renewals.nextRenewalAt(),
      hook: facts.facts.hook,
    });
    try {
      await publishOnSession(topics.state, JSON.stringify(state));
    } catch (error) {
      log.debug('state not reported', { reason: String(error) });
    }
  }

  const stopping = new AbortController();
  if (!time.isClockBelievable()) {
    log.warn('the clock of this device is wrong', { clock: new Date(clock.now()).toISOString() });
    await askGateway(opened.identity);
  }
  if (!opened.candidate) sessions.start();
  renewals.start();
  return {
    deviceId,
    status: () =>
      formatStatus(
        {
          config,
          certificate: sessions.identity.certificate,
          tlsKeyAccess: deps.keys.tlsKeyAccess,
          facts: facts.facts,
          nextRenewalAt: renewals.nextRenewalAt(),
          now: time.now(),
        },
        { running: true, connected: sessions.session !== undefined },
      ),
    renewNow: () => renewals.renewNow(),
    publish: (subtopic, payload) => desk.publish(subtopic, payload),
    listen: (filter, onMessage) => desk.listen(filter, onMessage),
    reconnect: () => sessions.reconnect(),
    stop: async () => {
      stopping.abort();
      await Promise.all([renewals.stop(), sessions.stop()]);
    },
  };
}
