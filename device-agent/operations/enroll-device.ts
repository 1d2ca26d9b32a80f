import { formatName } from '#ca/pkix/name.ts';
import { type AgentConfig, formatAddress, parseAgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { healthOf } from '#device-agent/domain/agent-status.ts';
import { formatAttemptId } from '#device-agent/domain/attempt-id.ts';
import type { GenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { planGenerations } from '#device-agent/domain/generation-plan.ts';
import type { EstClient } from '#device-agent/ports/est-client.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import type { JoinUrl } from '#gateway/contract/join-url.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';
import { type ConfirmDeps, confirmSession } from './confirm-session.ts';
import { FactBook } from './fact-book.ts';
import { verifyCaCertificates } from './first-contact.ts';
import { type Identity, loadGeneration, type PendingRequest } from './identity.ts';
import { requestCertificate } from './request-certificate.ts';
import { TimeKeeper } from './time-keeper.ts';

export type EnrollDeps = ConfirmDeps & { store: StateStore; keys: KeyProvider; est: EstClient; log: Log };

export const ENROLL_STEPS = ['reach', 'verify', 'directory', 'key', 'certificate', 'store', 'confirm'] as const;
export type EnrollStep = (typeof ENROLL_STEPS)[number];

export type EnrollOrder = {
  join: JoinUrl;
  keyKind: KeyKind;
  /** Open an MQTT session once, so that the gateway knows the certificate arrived. */
  confirm: boolean;
  /** Enroll although this folder holds an identity of the same device already. */
  replace: boolean;
};

export type EnrollProgress = {
  onStart(step: EnrollStep): void;
  onDone(step: EnrollStep, detail: string): void;
  /** The gateway wants a person to decide first. */
  onPending(attemptId: string, retryAfterMs: number): void;
};

export type Enrolled = {
  deviceId: string;
  serial: string;
  notAfter: number;
  /** undefined when there was nothing to do. */
  attemptId: string | undefined;
};

/**
 * First contact to first session. Nothing secret leaves before the gateway has shown the pinned root. It may be broken
 * off anywhere and started again: the same key asks again and gets the same certificate.
 * @throws AgentError of the step that failed
 */
export async function enrollDevice(
  deps: EnrollDeps,
  order: EnrollOrder,
  progress: EnrollProgress,
  signal?: AbortSignal,
): Promise<Enrolled> {
  const { store, est } = deps;
  const { join } = order;
  const time = await TimeKeeper.open(deps);
  const facts = await FactBook.open(deps);
  const existing = await findExisting(deps, order, facts, time);
  if (existing) return confirmExisting(deps, existing, order, facts, time, progress, signal);

  const address = { host: join.host, port: join.port };
  progress.onStart('reach');
  const offered = await est.fetchUnverifiedCaCertificates(address, signal);
  progress.onDone('reach', formatAddress(address));

  progress.onStart('verify');
  const { root, intermediates } = verifyCaCertificates(offered, join.rootSha256, time.trustedNow());
  const anchors = [root];
  progress.onDone('verify', `root SHA-256 ${join.rootSha256}`);

  // RFC 7030 4.1.1: a new session, verified from the root on, before anything else.
  const session = est.openSession({ address, trust: time.trust(anchors) });
  try {
    progress.onStart('directory');
    const directory = await session.fetchDirectory(signal);
    await time.learn(directory.time, directory.servedUntil);
    const config: AgentConfig = {
      version: 1,
      est: address,
      mqtt: { host: directory.mqtt.host ?? join.host, port: directory.mqtt.port },
      deviceId: join.deviceId,
      trustDomain: directory.trustDomain,
      rootSha256: join.rootSha256,
      keyProvider: deps.keys.name,
    };
    progress.onDone('directory', `${config.trustDomain}, MQTT at ${formatAddress(config.mqtt)}`);

    progress.onStart('key');
    const { request, reused } = await prepareRequest(deps, { config, anchors, order }, time.now());
    progress.onDone('key', `${request.key.kind}${reused ? ', of the request before' : ''}`);

    progress.onStart('certificate');
    const attemptId = formatAttemptId(deps.randomness.bytes(8));
    const received = await requestCertificate(
      deps,
      session,
      {
        config,
        operation: 'simpleenroll',
        attemptId,
        key: request.key,
        attester: deps.keys.attester,
        subject: formatName({ commonName: config.deviceId }),
        basic: { user: config.deviceId, password: join.ticket },
        anchors,
        intermediates,
        at: time.trustedNow(),
      },
      { onPending: (id, retryAfterMs) => progress.onPending(id, retryAfterMs), signal },
    );
    progress.onDone('certificate', `serial ${received.certificate.serial}, attempt ${received.attemptId}`);

    progress.onStart('store');
    const meta: GenerationMeta = { ...request.meta, receivedAt: time.now(), attemptId: received.attemptId };
    await store.completeGeneration(request.generation, received.certificates, meta);
    await store.writeTrust(anchors);
    await store.writeRecord('agent', config);
    await store.switchTo(request.generation);
    await time.learn(received.certificate.notBefore, received.certificate.notAfter);
    await facts.update({
      revoked: undefined,
      refused: undefined,
      lastError: undefined,
      lastConnectedAt: undefined,
      lastAttempt: { id: received.attemptId, outcome: 'issued', at: time.now() },
    });
    progress.onDone('store', `valid until ${new Date(received.certificate.notAfter).toISOString()}`);

    const identity: Identity = { generation: request.generation, key: request.key, meta, ...received };
    if (order.confirm) await confirm(deps, { config, anchors, identity }, facts, time, progress, signal);
    const { serial, notAfter } = received.certificate;
    return { deviceId: config.deviceId, serial, notAfter, attemptId: received.attemptId };
  } finally {
    session.close();
  }
}

type Existing = { config: AgentConfig; anchors: Buffer[]; identity: Identity };

/** @returns the working identity of the same device, undefined when there is none. @throws AgentError ALREADY_ENROLLED */
async function findExisting(
  deps: EnrollDeps,
  order: EnrollOrder,
  facts: FactBook,
  time: TimeKeeper,
): Promise<Existing | undefined> {
  const current = await deps.store.currentGeneration();
  if (current === undefined) return undefined;
  const config = parseAgentConfig(await deps.store.readRecord('agent'));
  const { join } = order;
  if (config.deviceId !== join.deviceId || config.rootSha256 !== join.rootSha256) {
    const who = config.deviceId === join.deviceId ? 'with another gateway' : `as "${config.deviceId}"`;
    throw new AgentError('ALREADY_ENROLLED', `this state folder is enrolled ${who}`, {
      advice: 'give another folder with --state, or move this one away first',
    });
  }
  if (order.replace) return undefined;
  const loaded = await loadGeneration(deps, current);
  const identity = loaded && 'identity' in loaded ? loaded.identity : undefined;
  const health = healthOf(identity?.certificate ?? null, facts.facts, time.now());
  if (identity && health === 'enrolled') return { config, anchors: await deps.store.readTrust(), identity };
  throw new AgentError(
    'ALREADY_ENROLLED',
    `this device is enrolled and its certificate is ${health === 'not-enrolled' ? 'missing' : health}`,
    {
      advice: 'run enroll again with --replace and a new ticket; the old identity is kept until the new one is stored',
    },
  );
}

async function confirmExisting(
  deps: EnrollDeps,
  existing: Existing,
  order: EnrollOrder,
  facts: FactBook,
  time: TimeKeeper,
  progress: EnrollProgress,
  signal: AbortSignal | undefined,
): Promise<Enrolled> {
  const { config, identity } = existing;
  const neverConnected = facts.facts.lastConnectedAt === undefined;
  if (order.confirm && neverConnected) await confirm(deps, existing, facts, time, progress, signal);
  const { serial, notAfter } = identity.certificate;
  return { deviceId: config.deviceId, serial, notAfter, attemptId: undefined };
}

async function confirm(
  deps: EnrollDeps,
  existing: Existing,
  facts: FactBook,
  time: TimeKeeper,
  progress: EnrollProgress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { config, anchors, identity } = existing;
  progress.onStart('confirm');
  await confirmSession(deps, { config, trust: time.trust(anchors), identity }, signal);
  await facts.update({ lastConnectedAt: time.now() });
  progress.onDone('confirm', `MQTT session at ${formatAddress(config.mqtt)}`);
}

/** The key of an interrupted request of the same device, or a new one; on the disk before it is used. */
async function prepareRequest(
  deps: EnrollDeps,
  wanted: { config: AgentConfig; anchors: Buffer[]; order: EnrollOrder },
  now: number,
): Promise<{ request: PendingRequest; reused: boolean }> {
  const { store, keys } = deps;
  const { config, order } = wanted;
  const plan = planGenerations(await store.listGenerations(), await store.currentGeneration());
  if (plan.candidate !== undefined) {
    const before = await findReusable(deps, plan.candidate, config, order.keyKind);
    if (before) return { request: before, reused: true };
    await store.removeGeneration(plan.candidate);
  }
  if (plan.current === undefined) {
    await store.writeTrust(wanted.anchors);
    await store.writeRecord('agent', config);
  }
  const key = await keys.generate(order.keyKind);
  const meta: GenerationMeta = { version: 1, keyKind: order.keyKind, createdAt: now };
  const generation = await store.addGeneration(key.pem, meta);
  return { request: { generation, key, meta }, reused: false };
}

async function findReusable(
  deps: EnrollDeps,
  candidate: number,
  config: AgentConfig,
  keyKind: KeyKind,
): Promise<PendingRequest | undefined> {
  try {
    const before = parseAgentConfig(await deps.store.readRecord('agent'));
    const loaded = await loadGeneration(deps, candidate);
    // One with a certificate asks again too: the same key gets the same certificate, if it is still good.
    const request = loaded && ('pending' in loaded ? loaded.pending : loaded.identity);
    const isOurs = before.deviceId === config.deviceId && before.rootSha256 === config.rootSha256;
    return isOurs && request?.key.kind === keyKind ? request : undefined;
  } catch {
    return undefined;
  }
}
