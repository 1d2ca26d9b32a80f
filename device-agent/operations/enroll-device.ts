import { hash } from 'node:crypto';
import { parsePem } from '#ca/pkix/pem.ts';
import { spkiSha256 } from '#ca/pkix/public-key.ts';
import { type AgentConfig, formatAddress, parseAgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { healthOf } from '#device-agent/domain/agent-status.ts';
import { formatAttemptId } from '#device-agent/domain/attempt-id.ts';
import type { GenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { NO_TRUST_MEMORY } from '#device-agent/domain/trust-change.ts';
import type { EstClient } from '#device-agent/ports/est-client.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import { formatKeyFingerprint } from '#gateway/contract/key-fingerprint.ts';
import { type ConfirmDeps, confirmSession } from './confirm-session.ts';
import type { EnrollOrder, EnrollStep } from './enroll-order.ts';
import { type EnrollmentWay, openWay } from './enrollment-way.ts';
import { FactBook } from './fact-book.ts';
import { type Identity, loadGeneration, type PendingRequest } from './identity.ts';
import { prepareRequest } from './prepare-request.ts';
import { type ReceivedCertificate, requestCertificate } from './request-certificate.ts';
import { TimeKeeper } from './time-keeper.ts';

export type EnrollDeps = ConfirmDeps & { store: StateStore; keys: KeyProvider; est: EstClient; log: Log };

export type EnrollProgress = {
  onStart(step: EnrollStep): void;
  onDone(step: EnrollStep, detail: string): void;
  /** A request is about to be made under this name; told once for each name. */
  onAttempt?(attemptId: string): void;
  /** The gateway wants a person to decide first. `keyFingerprint` as the gateway shows it to that person. */
  onPending(waiting: { attemptId: string; retryAfterMs: number; keyFingerprint: string }): void;
  /** It did not work and is tried again. */
  onTrouble?(error: AgentError, retryAfterMs: number): void;
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
  const { store } = deps;
  const time = await TimeKeeper.open(deps);
  const facts = await FactBook.open(deps);
  const existing = await findExisting(deps, order, facts, time);
  if (existing) return confirmExisting(deps, existing, order, facts, time, progress, signal);

  const way = await openWay(deps, order, time, progress, signal);
  try {
    const { anchors } = way;
    progress.onStart('key');
    const wanted = { config: way.config, anchors, keyKind: order.keyKind };
    const { request, reused } = await prepareRequest(deps, wanted, time.now());
    progress.onDone('key', `${request.key.kind}${reused ? ', of the request before' : ''}`);

    progress.onStart('certificate');
    const received = await requestFirst(deps, way, request, { facts, time, progress }, signal);
    progress.onDone('certificate', `serial ${received.certificate.serial}, attempt ${received.attemptId}`);

    progress.onStart('store');
    const { deviceId, trustDomain, attemptId, wasBound, window } = received;
    const config: AgentConfig = { ...way.config, deviceId, trustDomain };
    const meta: GenerationMeta = {
      ...request.meta,
      receivedAt: time.now(),
      attemptId,
      ...(wasBound ? { wasBound } : {}),
      ...(window ? { suggestedWindow: window } : {}),
    };
    await store.completeGeneration(request.generation, received.certificates, meta);
    // What was told before counts no more: the gateway may be another one by now.
    if ((await store.readRecord('trust')) !== undefined) await store.writeRecord('trust', NO_TRUST_MEMORY);
    await store.writeTrust(anchors);
    await store.writeRecord('agent', config);
    await store.switchTo(request.generation);
    await time.learn(received.certificate.notBefore, received.certificate.notAfter);
    await facts.update({
      revoked: undefined,
      refused: undefined,
      lastError: undefined,
      lastConnectedAt: undefined,
      enrollment: undefined,
      lastAttempt: { id: attemptId, outcome: 'issued', at: time.now(), via: way.via },
    });
    progress.onDone('store', `valid until ${new Date(received.certificate.notAfter).toISOString()}`);

    // What let the device in to enroll has done its work.
    way.session.close();
    const identity: Identity = { generation: request.generation, key: request.key, meta, ...received };
    if (order.confirm) await confirm(deps, { config, anchors, identity }, facts, time, progress, signal);
    const { serial, notAfter } = received.certificate;
    return { deviceId, serial, notAfter, attemptId };
  } finally {
    way.session.close();
  }
}

/** What is known of the attempt is on the disk before it is made: it survives a restart under the same name. */
async function requestFirst(
  deps: EnrollDeps,
  way: EnrollmentWay,
  { key }: PendingRequest,
  { facts, time, progress }: { facts: FactBook; time: TimeKeeper; progress: EnrollProgress },
  signal: AbortSignal | undefined,
): Promise<ReceivedCertificate> {
  const spki = spkiSha256(key.publicKey);
  const keyFingerprint = formatKeyFingerprint(spki);
  const { via } = way;
  const before = facts.facts.enrollment?.spkiSha256 === spki ? facts.facts.enrollment : undefined;
  let open = before;
  let announced: string | undefined;
  try {
    return await requestCertificate(
      deps,
      way.session,
      {
        ...way.request,
        operation: 'simpleenroll',
        attemptId: before?.attemptId ?? formatAttemptId(deps.randomness.bytes(8)),
        key,
        attester: deps.keys.attester,
        anchors: way.anchors,
        now: () => time.trustedNow(),
      },
      {
        onAttempt: async (attemptId) => {
          if (announced === attemptId) return;
          announced = attemptId;
          if (open?.attemptId !== attemptId || open.via !== via)
            open = { attemptId, spkiSha256: spki, via, since: time.now() };
          await facts.update({ enrollment: open });
          progress.onAttempt?.(attemptId);
        },
        onPending: async (attemptId, retryAfterMs) => {
          const at = time.now();
          open = { attemptId, spkiSha256: spki, via, since: open?.since ?? at, askAgainAt: at + retryAfterMs };
          await facts.update({ enrollment: open, lastAttempt: { id: attemptId, outcome: 'pending', at, via } });
          progress.onPending({ attemptId, retryAfterMs, keyFingerprint });
        },
        onTrouble: (error, retryAfterMs) => progress.onTrouble?.(error, retryAfterMs),
        signal,
      },
    );
  } catch (thrown) {
    const error = asAgentError(thrown, 'STATE_BROKEN');
    // An answer has come: the next one is another attempt.
    const isAnswered = error.code === 'GATEWAY_REFUSED' || error.code === 'ANSWER_UNFIT';
    const outcome = error.code === 'GATEWAY_REFUSED' ? 'refused' : 'failed';
    const isStillWaiting = error.code === 'STOPPED' && open?.askAgainAt !== undefined;
    await facts.update({
      ...(isAnswered ? { enrollment: undefined } : {}),
      ...(error.attemptId === undefined || isStillWaiting
        ? {}
        : { lastAttempt: { id: error.attemptId, outcome, at: time.now(), via } }),
    });
    throw error;
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
  const { deviceId = config.deviceId, rootSha256 } = expectedBy(order);
  const isOurGateway = config.rootSha256 === rootSha256 || (await hasAnchor(deps.store, rootSha256));
  if (config.deviceId !== deviceId || !isOurGateway) {
    const who = config.deviceId === deviceId ? 'with another gateway' : `as "${config.deviceId}"`;
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

/** The root of the gateway may have been replaced since. */
async function hasAnchor(store: StateStore, sha256: string): Promise<boolean> {
  return (await store.readTrust()).some((der) => hash('sha256', der, 'hex') === sha256);
}

/** Of the manufacturer's way the name may be known only by the gateway. */
function expectedBy(order: EnrollOrder): { deviceId?: string; rootSha256: string } {
  if ('join' in order) return order.join;
  if ('claim' in order) {
    const [root = Buffer.alloc(0)] = parsePem(order.claim.root, 'CERTIFICATE');
    return { deviceId: order.claim.deviceId, rootSha256: hash('sha256', root, 'hex') };
  }
  const { root, deviceId } = order.manufacturer;
  return {
    ...(deviceId === undefined ? {} : { deviceId }),
    rootSha256: Buffer.isBuffer(root) ? hash('sha256', root, 'hex') : root.sha256,
  };
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
