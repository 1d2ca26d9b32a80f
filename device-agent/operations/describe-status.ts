import type { Certificate } from '#ca/pkix/certificate.ts';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { type AgentStatus, adviceFor, healthOf, type TlsKeyAccess } from '#device-agent/domain/agent-status.ts';
import { AGENT_VERSION } from '#device-agent/domain/agent-version.ts';
import { parseNoticeMemory } from '#device-agent/domain/notice-memory.ts';
import { plannedRenewal } from '#device-agent/domain/renewal-schedule.ts';
import { parseRuntimeFacts, type RuntimeFacts } from '#device-agent/domain/runtime-facts.ts';
import type { Clock } from '#device-agent/ports/clock.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import { formatKeyFingerprint } from '#gateway/contract/key-fingerprint.ts';
import { loadGeneration } from './identity.ts';
import { readAgentConfig } from './read-agent-config.ts';
import { TimeKeeper } from './time-keeper.ts';

/** From the state folder alone, for when no agent runs. @throws AgentError STATE_BROKEN */
export async function describeStatus(deps: {
  store: StateStore;
  keys: KeyProvider;
  clock: Clock;
}): Promise<AgentStatus> {
  const { store } = deps;
  const config = await readAgentConfig(store);
  const current = await store.currentGeneration();
  const loaded = current === undefined ? undefined : await loadGeneration(deps, current);
  const identity = loaded && 'identity' in loaded ? loaded.identity : undefined;
  const facts = parseRuntimeFacts(await store.readRecord('status'));
  const time = await TimeKeeper.open(deps);
  const order = parseNoticeMemory(await store.readRecord('notices'))?.order;
  const nextRenewalAt = identity && plannedRenewal(identity, order);
  return formatStatus(
    {
      config,
      certificate: identity?.certificate,
      tlsKeyAccess: deps.keys.tlsKeyAccess,
      facts,
      nextRenewalAt,
      now: time.now(),
    },
    { running: false, connected: false },
  );
}

export function formatStatus(
  facts: {
    config: AgentConfig | undefined;
    certificate: Certificate | undefined;
    /** Of the key provider in use. */
    tlsKeyAccess: TlsKeyAccess | undefined;
    facts: RuntimeFacts;
    nextRenewalAt: number | undefined;
    now: number;
  },
  live: { running: boolean; connected: boolean },
): AgentStatus {
  const { config, certificate } = facts;
  const state = healthOf(certificate ?? null, facts.facts, facts.now);
  return {
    deviceId: config?.deviceId ?? null,
    state,
    connected: live.connected,
    certificate: certificate ? { serial: certificate.serial, notAfter: certificate.notAfter } : null,
    nextRenewalAt: facts.nextRenewalAt ?? null,
    keyProvider: config?.keyProvider ?? 'software',
    proofLevel: certificate ? readProofLevel(certificate) : 'software',
    tlsKeyAccess: facts.tlsKeyAccess ?? null,
    gateway: config ? { est: config.est, mqtt: config.mqtt } : null,
    agentVersion: AGENT_VERSION,
    running: live.running,
    lastConnectedAt: facts.facts.lastConnectedAt ?? null,
    lastError: facts.facts.lastError ?? null,
    lastAttempt: facts.facts.lastAttempt ?? null,
    hook: facts.facts.hook ?? null,
    renewVia: config?.renewVia ?? null,
    waiting: describeWaiting(facts.facts.enrollment ?? facts.facts.renewal),
    crl: describeCrl(facts.facts.crl, facts.now),
    advice: adviceFor(state, facts.facts),
  };
}

function describeWaiting(enrollment: RuntimeFacts['enrollment']): AgentStatus['waiting'] {
  if (enrollment?.askAgainAt === undefined) return null;
  const { attemptId, spkiSha256, since, via } = enrollment;
  return { attemptId, keyFingerprint: formatKeyFingerprint(spkiSha256), since, via };
}

/** Names of the state folder, on which others rely. */
const CRL_FILES = { file: 'crl/current.crl', revokedFile: 'crl/revoked.json' } as const;

function describeCrl(crl: RuntimeFacts['crl'], now: number): AgentStatus['crl'] {
  if (crl === undefined) return null;
  const { number = null, nextUpdate = null, error = null } = crl;
  return { ...CRL_FILES, number, nextUpdate, stale: nextUpdate !== null && nextUpdate < now, error };
}
