import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import { formatAttemptId } from '#device-agent/domain/attempt-id.ts';
import type { GenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { planGenerations } from '#device-agent/domain/generation-plan.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { EstClient } from '#device-agent/ports/est-client.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Randomness } from '#device-agent/ports/randomness.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';
import type { FactBook } from './fact-book.ts';
import { type Identity, loadGeneration, type PendingRequest, tlsIdentityOf } from './identity.ts';
import { requestCertificate } from './request-certificate.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type RenewDeps = {
  store: StateStore;
  keys: KeyProvider;
  est: EstClient;
  clock: Clock;
  randomness: Randomness;
  time: TimeKeeper;
  facts: FactBook;
};

/**
 * First phase of a renewal: a new key beside the old one, and the certificate for it, both on the disk. The current
 * identity stays what it is; the second phase proves the candidate in a session.
 * @throws AgentError; after GATEWAY_REFUSED the candidate is gone, after anything else its key is used again.
 */
export async function requestRenewal(
  deps: RenewDeps,
  facts: { config: AgentConfig; anchors: Buffer[]; identity: Identity },
  signal: AbortSignal,
): Promise<Identity> {
  const { store, time } = deps;
  const { config, anchors, identity } = facts;
  const request = await prepareCandidate(deps, identity);
  if ('identity' in request) return request.identity;
  const { generation, key } = request.pending;
  const attemptId = formatAttemptId(deps.randomness.bytes(8));
  // RFC 7030 3.3.2: TLS with the certificate that is to be renewed.
  const session = deps.est.openSession({
    address: config.est,
    trust: time.trust(anchors),
    identity: tlsIdentityOf(identity),
  });
  try {
    const { subject, subjectAltName } = identity.certificate;
    const received = await requestCertificate(
      deps,
      session,
      {
        config,
        operation: 'simplereenroll',
        attemptId,
        key,
        attester: deps.keys.attester,
        // RFC 7030 4.2.2: subject and subjectAltName equal those of the current certificate.
        subject,
        ...(subjectAltName ? { subjectAltName } : {}),
        anchors,
        intermediates: identity.certificates.slice(1),
        at: time.trustedNow(),
      },
      {
        signal,
        onPending: (id) => void deps.facts.update({ lastAttempt: { id, outcome: 'pending', at: time.now() } }),
      },
    );
    const meta: GenerationMeta = { ...request.pending.meta, receivedAt: time.now(), attemptId: received.attemptId };
    await store.completeGeneration(generation, received.certificates, meta);
    await time.learn(received.certificate.notBefore, received.certificate.notAfter);
    await deps.facts.update({ lastAttempt: { id: received.attemptId, outcome: 'issued', at: time.now() } });
    return { generation, key, meta, certificate: received.certificate, certificates: received.certificates };
  } catch (thrown) {
    const error = asAgentError(thrown, 'STATE_BROKEN');
    const refused = error.code === 'GATEWAY_REFUSED';
    await deps.facts.update({
      lastAttempt: { id: error.attemptId ?? attemptId, outcome: refused ? 'refused' : 'failed', at: time.now() },
    });
    if (refused) await store.removeGeneration(generation);
    throw error;
  } finally {
    session.close();
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
  const { previous } = planGenerations(await deps.store.listGenerations(), current.generation);
  if (previous === undefined) return undefined;
  const loaded = await loadGeneration(deps, previous).catch(() => undefined);
  if (!loaded || !('identity' in loaded) || hasExpired(loaded.identity, deps.time)) return undefined;
  return loaded.identity;
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
