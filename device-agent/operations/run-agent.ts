import { type AgentConfig, formatAddress } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import type { MqttSession } from '#device-agent/ports/mqtt-connector.ts';
import { deviceTopics, FLEET_TOPICS } from '#gateway/contract/topics.ts';
import { answerAttest } from './answer-attest.ts';
import { ApplicationDesk, quarantined } from './application-desk.ts';
import { explainOutcome, KEEPALIVE_SECONDS } from './confirm-session.ts';
import { CrlKeeper } from './crl-keeper.ts';
import { formatStatus } from './describe-status.ts';
import { ExpiredLane } from './expired-lane.ts';
import { FactBook } from './fact-book.ts';
import { HookDesk } from './hook-desk.ts';
import type { Identity } from './identity.ts';
import { locateBroker } from './locate-broker.ts';
import { NoticeInbox } from './notice-inbox.ts';
import { openAgentState } from './open-agent-state.ts';
import {
  findPrevious,
  hasExpired,
  loadPrevious,
  removeSurplusGenerations,
  requestRenewal,
  rollBack,
} from './renew-certificate.ts';
import { RenewalAdvisor } from './renewal-advisor.ts';
import { RenewalKeeper, type Renewed } from './renewal-keeper.ts';
import { RenewalWays } from './renewal-ways.ts';
import { ReportCounter } from './report-counter.ts';
import type { AgentDeps, AgentEvent, AgentOptions, RunningAgent } from './running-agent.ts';
import { SessionKeeper } from './session-keeper.ts';
import type { SessionKeeperHooks } from './session-keeper-hooks.ts';
import { lookIntoTrouble, type TroubleDeps } from './session-trouble.ts';
import { StateReporter } from './state-reporter.ts';
import { TimeKeeper } from './time-keeper.ts';
import { TrustKeeper } from './trust-keeper.ts';

/**
 * The agent's whole life after enrollment: keeps a session, obeys signed notices, renews. No globals, so many may run
 * in one process. Resolves when it has started, not when it is connected.
 * @throws AgentError NOT_ENROLLED, STATE_BROKEN
 */
export async function runAgent(deps: AgentDeps, options: AgentOptions = {}): Promise<RunningAgent> {
  const { store, log, clock } = deps;
  const opened = await openAgentState(deps);
  let config: AgentConfig = opened.config;
  const { deviceId } = config;
  const topics = deviceTopics(deviceId);
  const time = await TimeKeeper.open(deps);
  const trust = await TrustKeeper.open({ ...deps, time }, opened.anchors, async () => {
    await followPinnedRoot();
    void crl?.anchorsChanged();
    hook.filesChanged('trust');
    // Not waited for: what comes next must not wait for a slow broker.
    void reportState();
  });
  await followPinnedRoot();
  await time.learn(opened.identity.certificate.notBefore, opened.identity.certificate.notAfter);
  const facts = await FactBook.open(deps);
  const hook = new HookDesk(
    { ...deps, time, facts },
    { deviceId, currentSerial: () => sessions.identity.certificate.serial, onEnded: reportState },
  );
  const desk = new ApplicationDesk(deviceId);
  const lane = new ExpiredLane({ ...deps, time });
  const ways = new RenewalWays({ ...deps, lane });
  const counter = await ReportCounter.open(deps);
  const reporter = new StateReporter(
    { ...deps, facts, counter },
    {
      identity: () => (sessions.session === undefined ? undefined : sessions.identity),
      nextRenewalAt: () => renewals.nextRenewalAt(),
      anchors: () => trust.fingerprints,
      publish: (payload) => publishOnSession(topics.state, payload),
    },
  );
  const stopping = new AbortController();
  const emit = (event: AgentEvent) => options.onEvent?.(event);

  const inbox = await NoticeInbox.open(
    { ...deps, time, facts },
    {
      config,
      anchors: () => trust.anchors,
      currentSerial: () => sessions.identity.certificate.serial,
      sendAck: (ack) => publishOnSession(topics.ack, JSON.stringify(ack)),
      onOrder: () => renewals.reconsider(),
      onWindow: (window) => advisor.hear(window),
      onRevoked: ({ reason, advice }) => {
        log.error('this device has been revoked', { reason, advice });
        emit({ kind: 'revoked' });
      },
      obeyTrust: (text, body) => trust.obey(text, body),
      attest: (challenge) => answerAttest({ ...deps, time }, () => sessions.identity, challenge, stopping.signal),
    },
  );

  const sessions = new SessionKeeper(
    deps,
    {
      target: () => ({ config, trust: time.trust(trust.anchors) }),
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

  const trouble: TroubleDeps = {
    ...deps,
    facts,
    time,
    lane,
    config: () => config,
    anchors: () => trust.anchors,
    isInUse: (identity) => identity === sessions.identity && !sessions.isProving,
    askGateway,
    onEnded: () => renewals.adviceChanged(),
    signal: stopping.signal,
  };

  const advisor = new RenewalAdvisor(deps, {
    identity: () => sessions.identity,
    target: () => ({ config, trust: time.trust(trust.anchors) }),
    onAdvice: () => renewals.adviceChanged(),
    told: () => inbox.window,
    settled: (signal) => ways.settled(sessions.identity, signal),
  });

  const renewals = new RenewalKeeper(
    { ...deps, time, inbox, advisor },
    {
      identity: () => sessions.identity,
      renew,
      onRenewed: async (renewed) => {
        emit({ kind: 'renewed', ...renewed });
        await hook.certificateChanged(renewed.oldSerial);
      },
      onFailed: async (error) => {
        sessions.start();
        emit({ kind: 'renewal-failed', error });
        await facts.noteError(error, time.now());
        if (error.code === 'GATEWAY_UNTRUSTED') await askGateway(sessions.identity);
      },
      onPlanned: () => void reportState(),
      onClockDoubt: () => {
        log.warn('the clock of this device was moved', { clock: new Date(clock.now()).toISOString() });
        return askGateway(sessions.identity);
      },
    },
    { interrupted: opened.interrupted || opened.candidate !== undefined },
  );

  async function onSession(session: MqttSession, identity: Identity): Promise<void> {
    const { serial } = identity.certificate;
    log.info('connected', { gateway: formatAddress(config.mqtt), serial });
    session.onMessage((topic, payload) => {
      if (topic === topics.notice) void inbox.receive(payload);
      else if (topic === FLEET_TOPICS.trust) void trust.receive(payload).then(() => crl?.reconsider());
      else if (topic === FLEET_TOPICS.revocations) void crl?.receive(payload);
      else if (topic === topics.certificate) ways.receive(payload);
      else desk.deliver(topic, payload);
    });
    const filters = [
      topics.notice,
      topics.certificate,
      FLEET_TOPICS.trust,
      ...(crl ? [FLEET_TOPICS.revocations] : []),
      ...desk.attach(session),
    ];
    const denied = await session.subscribe(filters);
    if (denied.length > 0) log.error('the gateway denied subscriptions', { denied });
    ways.attach(session, config);
    const known = { refused: undefined, revoked: undefined, lastError: undefined, lastConnectedAt: time.now() };
    // It was to be given up, and works after all.
    await facts.update(facts.facts.rolledBack?.serial === serial ? { ...known, rolledBack: undefined } : known);
    await reportState();
    await inbox.flush();
    emit({ kind: 'connected', serial });
    await removeSurplusGenerations(deps);
  }

  /** The root that was pinned at the enrollment may be dropped one day: then the first one in use stands for it. */
  async function followPinnedRoot(): Promise<void> {
    const [first = ''] = trust.fingerprints;
    if (trust.fingerprints.includes(config.rootSha256)) return;
    config = { ...config, rootSha256: first };
    await store.writeRecord('agent', config);
  }

  /** The candidate works: one durable rename makes it the identity. */
  async function commit(candidate: Identity): Promise<void> {
    await store.switchTo(candidate.generation);
    log.info('switched to the new certificate', { serial: candidate.certificate.serial });
  }

  /** The gateway does not know the newer certificate any more, and knows the one before. */
  async function fallBack(previous: Identity, refused: Identity): Promise<void> {
    await noteRolledBack(refused, 'the gateway does not let it in any more');
    await store.switchTo(previous.generation);
    const [oldSerial, newSerial] = [refused.certificate.serial, previous.certificate.serial];
    log.warn('switched back to the certificate before', { refused: oldSerial, serial: newSerial });
    await reportState();
    renewals.renewSoon();
    void hook.certificateChanged(oldSerial);
  }

  async function onFailure(
    ...[outcome, identity, failures]: Parameters<SessionKeeperHooks['onFailure']>
  ): Promise<void> {
    log.warn('no session', { outcome: outcome.kind, reason: explainOutcome(outcome).message, failures });
    emit({ kind: 'connect-failed', outcome });
    ways.noSession();
    await lookIntoTrouble(trouble, { outcome, identity, failures });
  }

  /** The broker may have moved, and the clock may be wrong: the gateway says so over HTTPS, verified. */
  async function askGateway(identity: Identity): Promise<void> {
    const mqtt = await locateBroker({ ...deps, time }, { config, anchors: trust.anchors, identity }, stopping.signal);
    renewals.adviceChanged();
    if (!mqtt || (mqtt.host === config.mqtt.host && mqtt.port === config.mqtt.port)) return;
    config = { ...config, mqtt };
    await store.writeRecord('agent', config);
  }

  async function renew(signal: AbortSignal): Promise<Renewed> {
    const before = sessions.identity;
    const renewing = { ...deps, time, facts };
    const askAs = (identity: Identity) => {
      const asking = { config, anchors: trust.anchors, identity };
      const chosen = ways.choose({ ...asking, trust: time.trust(trust.anchors) });
      const hasEnded = () => lane.hasEnded(identity);
      return requestRenewal(renewing, { ...asking, current: before, hasEnded, ways: chosen }, signal);
    };
    const candidate = await askAs(before).catch(async (error: unknown) => {
      const elder = await elderInstead(before, error);
      if (!elder) throw error;
      log.info('asking with the certificate before', { serial: elder.certificate.serial });
      return askAs(elder);
    });
    const proven = sessions.prove(candidate);
    // A candidate left by the run before is the first to connect.
    sessions.start();
    try {
      await proven;
    } catch (error) {
      const { code, message } = asAgentError(error, 'STATE_BROKEN');
      if (code === 'CANDIDATE_REFUSED') {
        await noteRolledBack(candidate, message);
        await rollBack(renewing, candidate);
        await reportState();
      }
      throw error;
    }
    await facts.update({ rolledBack: undefined });
    const { attemptId } = candidate.meta;
    const serials = { oldSerial: before.certificate.serial, newSerial: candidate.certificate.serial };
    return { ...serials, ...(attemptId === undefined ? {} : { attemptId }) };
  }

  /**
   * Both certificates have expired, and the newer one is refused: a gateway that was restored from an older copy of its
   * store does not know it, and may let the one before ask.
   */
  async function elderInstead(current: Identity, error: unknown): Promise<Identity | undefined> {
    const isRefused = asAgentError(error, 'STATE_BROKEN').code === 'GATEWAY_REFUSED';
    const isRevoked = facts.facts.revoked?.serial === current.certificate.serial;
    return isRefused && !isRevoked && lane.hasEnded(current) ? loadPrevious(deps, current) : undefined;
  }

  /** Before it is done, so that a power cut in between does not make it a secret: the next report tells the gateway. */
  async function noteRolledBack({ certificate: { serial } }: Identity, reason: string): Promise<void> {
    log.warn('a new certificate does not work', { serial, reason });
    await facts.update({ rolledBack: { serial, reason, at: time.now() } });
  }

  function publishOnSession(topic: string, payload: string): Promise<void> {
    const { session } = sessions;
    if (!session) return Promise.reject(new AgentError('GATEWAY_UNREACHABLE', 'there is no session now'));
    return session.publish(topic, payload);
  }

  function reportState(): Promise<void> {
    return reporter.report();
  }

  const crlHooks = {
    anchors: () => trust.anchors,
    issuers: () => [...sessions.identity.certificates.slice(1), ...trust.intermediates],
    onChanged: () => hook.filesChanged('crl'),
  };
  const crl =
    deps.crl && (await CrlKeeper.open({ ...deps, crl: deps.crl, time, facts }, crlHooks, options.crlWithinMs));
  time.onSet = () => void crl?.hearAgain();
  // A certificate that has expired while the device was off, and a clock that is far ahead, look the same from here.
  if (!time.isClockBelievable() || hasExpired(opened.identity, time)) {
    log.warn('the clock of this device may be wrong', { clock: new Date(clock.now()).toISOString() });
    await askGateway(opened.identity);
  }
  if (!opened.candidate) sessions.start();
  renewals.start();
  crl?.start();
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
    publish: async (subtopic, payload) => {
      // It would be acknowledged and dropped.
      if (facts.facts.quarantined?.serial === sessions.identity.certificate.serial) throw quarantined();
      return desk.publish(subtopic, payload);
    },
    listen: (filter, onMessage) => desk.listen(filter, onMessage),
    reconnect: () => sessions.reconnect(),
    stop: async () => {
      stopping.abort();
      await Promise.all([renewals.stop(), sessions.stop(), crl?.stop(), hook.stop()]);
    },
  };
}
