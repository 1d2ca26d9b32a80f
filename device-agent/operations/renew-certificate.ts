import { spkiSha256 } from '#ca/pkix/public-key.ts';
import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError, inAttempt } from '#device-agent/domain/agent-error.ts';
import { formatAttemptId } from '#device-agent/domain/attempt-id.ts';
import type { GenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { planGenerations } from '#device-agent/domain/generation-plan.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { DeviceKey, KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import { formatKeyFingerprint } from '#gateway/contract/key-fingerprint.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';
import type { FactBook } from './fact-book.ts';
import { type Identity, loadGeneration, type PendingRequest } from './identity.ts';
import { type ReceivedCertificate, requestCertificate } from './request-certificate.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type RenewDeps = {
  store: StateStore;
  keys: KeyProvider;
  clock: Clock;
  randomness: Randomness;
  time: TimeKeeper;
  facts: FactBook;
  log: Log;
};

/** A way to ask with the current certificate. @throws AgentError GATEWAY_UNREACHABLE when it is closed now */
export type RenewalWay = { via: 'est' | 'mqtt'; open(signal: AbortSignal): Promise<EnrollmentSession> };

/**
 * First phase of a renewal: a new key beside the old one, and the certificate for it, both on the disk. The current
 * identity stays what it is; the second phase proves the candidate in a session.
 * @param facts.identity who asks; `current` when that is another one, the newer certificate having been refused;
 * `hasEnded` when its certificate has expired
 * @param facts.ways in the order in which they are tried: the next one only when the gateway cannot be reached by the
 * one before. The same key asks, so that an answer lost on one way comes by the other.
 * @throws AgentError; after GATEWAY_REFUSED the candidate is gone (unless who asks has expired), after anything else its
 * key is used again.
 */
export async function requestRenewal(
  deps: RenewDeps,
  facts: {
    config: AgentConfig;
    anchors: Buffer[];
    identity: Identity;
    current?: Identity;
    hasEnded: () => boolean;
    ways: RenewalWay[];
  },
  signal: AbortSignal,
): Promise<Identity> {
  const { store, time } = deps;
  const request = await prepareCandidate(deps, facts.current ?? facts.identity);
  if ('identity' in request) return request.identity;
  const { generation, key } = request.pending;
  const attemptId = formatAttemptId(deps.randomness.bytes(8));
  try {
    const { received, via } = await askByAnyWay(deps, { ...facts, key, attemptId }, signal);
    const meta: GenerationMeta = {
      ...request.pending.meta,
      receivedAt: time.now(),
      attemptId: received.attemptId,
      ...(received.wasBound ? { wasBound: true } : {}),
      ...(received.window ? { suggestedWindow: received.window } : {}),
    };
    await store.completeGeneration(generation, received.certificates, meta);
    await time.learn(received.certificate.notBefore, received.certificate.notAfter);
    await deps.facts.update({ lastAttempt: { id: received.attemptId, outcome: 'issued', at: time.now(), via } });
    return { generation, key, meta, certificate: received.certificate, certificates: received.certificates };
  } catch (thrown) {
    const error = inAttempt(asAgentError(thrown, 'STATE_BROKEN'), attemptId);
    const refused = error.code === 'GATEWAY_REFUSED';
    await deps.facts.update({
      lastAttempt: { id: error.attemptId ?? attemptId, outcome: refused ? 'refused' : 'failed', at: time.now() },
    });
    // With a certificate that has expired a person may have said no to this key: another one would only ask again.
    if (refused && !facts.hasEnded()) await store.removeGeneration(generation);
    throw error;
  }
}

type RenewalWish = {
  config: AgentConfig;
  anchors: Buffer[];
  identity: Identity;
  ways: RenewalWay[];
  key: DeviceKey;
  attemptId: string;
};

async function askByAnyWay(
  deps: RenewDeps,
  wish: RenewalWish,
  signal: AbortSignal,
): Promise<{ received: ReceivedCertificate; via: RenewalWay['via'] }> {
  const { log } = deps;
  let firstError: AgentError | undefined;
  for (const way of wish.ways) {
    try {
      log.info('asking for a certificate', { via: way.via, attemptId: wish.attemptId });
      return { received: await askBy(deps, way, wish, signal), via: way.via };
    } catch (thrown) {
      const error = asAgentError(thrown, 'STATE_BROKEN');
      if (error.code !== 'GATEWAY_UNREACHABLE') throw error;
      log.info('the gateway is not reached', { via: way.via, attemptId: wish.attemptId, reason: error.message });
      firstError ??= error;
    }
  }
  throw firstError ?? new AgentError('GATEWAY_UNREACHABLE', 'there is no way to ask for a certificate');
}

async function askBy(
  deps: RenewDeps,
  way: RenewalWay,
  { config, anchors, identity, key, attemptId }: RenewalWish,
  signal: AbortSignal,
): Promise<ReceivedCertificate> {
  const { time, facts, log } = deps;
  const { subject, subjectAltName } = identity.certificate;
  const spki = spkiSha256(key.publicKey);
  let since: number | undefined;
  const session = await way.open(signal);
  try {
    return await requestCertificate(
      deps,
      session,
      {
        name: config,
        operation: 'simplereenroll',
        attemptId,
        key,
        attester: deps.keys.attester,
        // RFC 7030 4.2.2: subject and subjectAltName equal those of the current certificate.
        subject,
        ...(subjectAltName ? { subjectAltName } : {}),
        anchors,
        intermediates: identity.certificates.slice(1),
        now: () => time.trustedNow(),
        // As the last time; a gateway that has changed its mind says so.
        binds: identity.meta.wasBound === true,
      },
      {
        signal,
        onPending: async (id, retryAfterMs) => {
          const { via } = way;
          const at = time.now();
          if (since === undefined)
            log.info('waiting for approval', { attemptId: id, keyFingerprint: formatKeyFingerprint(spki) });
          since ??= at;
          await facts.update({
            renewal: { attemptId: id, spkiSha256: spki, via, since, askAgainAt: at + retryAfterMs },
            lastAttempt: { id, outcome: 'pending', at, via },
          });
        },
      },
    );
  } finally {
    session.close();
    // Stopped: it still waits, and the next run asks again.
    if (facts.facts.renewal !== undefined && !signal.aborted) await facts.update({ renewal: undefined });
  }
}

/** What an interrupted renewal left, or a new key of the same kind; on the disk before it is used. */
async function prepareCandidate(
  deps: RenewDeps,
  current: Identity,
): Promise<{ identity: Identity } | { pending: PendingRequest }> {
  const { store } = deps;
  const plan = planGenerations(await store.listGenerations(), current.generation);
  if (plan.candidate !== undefined) {
    const left = await loadGeneration(deps, plan.candidate).catch(() => undefined);
    if (left) return left;
    await store.removeGeneration(plan.candidate);
  }
  return { pending: await addKey(deps, current.key.kind) };
}

async function addKey({ store, keys, time }: RenewDeps, kind: KeyKind): Promise<PendingRequest> {
  const key = await keys.generate(kind);
  const meta: GenerationMeta = { version: 1, keyKind: key.kind, createdAt: time.now() };
  const generation = await store.addGeneration(key.pem, meta);
  return { generation, key, meta };
}

/**
 * The candidate was refused and the current identity let in after that: back to where the device was. The key of the
 * next attempt takes its place, so that the attempt is made soon also after a restart.
 */
export async function rollBack(deps: RenewDeps, candidate: Identity): Promise<void> {
  await addKey(deps, candidate.key.kind);
  await deps.store.removeGeneration(candidate.generation);
}

/** The generation before the current one, when its certificate can still be let in. */
export async function findPrevious(
  deps: Pick<RenewDeps, 'store' | 'keys' | 'time'>,
  current: Identity,
): Promise<Identity | undefined> {
  const previous = await loadPrevious(deps, current);
  return previous && !hasExpired(previous, deps.time) ? previous : undefined;
}

/** The generation before the current one, whatever its certificate is good for. */
export async function loadPrevious(
  deps: Pick<RenewDeps, 'store' | 'keys'>,
  current: Identity,
): Promise<Identity | undefined> {
  const { previous } = planGenerations(await deps.store.listGenerations(), current.generation);
  if (previous === undefined) return undefined;
  const loaded = await loadGeneration(deps, previous).catch(() => undefined);
  return loaded && 'identity' in loaded ? loaded.identity : undefined;
}

export function hasExpired({ certificate }: Identity, time: TimeKeeper): boolean {
  return time.now() > certificate.notAfter;
}

/** After the switch and a session: one generation is kept behind the current one, older ones go. */
export async function removeSurplusGenerations(deps: { store: StateStore }): Promise<void> {
  const plan = planGenerations(await deps.store.listGenerations(), await deps.store.currentGeneration());
  if (plan.current === undefined) throw new AgentError('STATE_BROKEN', 'there is no current generation');
  for (const number of plan.surplus) await deps.store.removeGeneration(number);
}
