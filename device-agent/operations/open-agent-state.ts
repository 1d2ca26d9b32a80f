import type { AgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { planGenerations } from '#device-agent/domain/generation-plan.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import { type Identity, loadGeneration } from './identity.ts';
import { readAgentConfig } from './read-agent-config.ts';

export type AgentStateDeps = { store: StateStore; keys: KeyProvider; log: Log };

export type OpenedState = {
  config: AgentConfig;
  /** DER. */
  anchors: Buffer[];
  identity: Identity;
  /** Issued and not yet proven. */
  candidate: Identity | undefined;
  /** Asked for and not yet answered. */
  interrupted: boolean;
};

/**
 * What a start finds, whatever the end before was. Changes one thing only: an enrollment that ended between storing its
 * certificate and the switch is switched to.
 * @throws AgentError NOT_ENROLLED, STATE_BROKEN
 */
export async function openAgentState(deps: AgentStateDeps): Promise<OpenedState> {
  const { store, log } = deps;
  const config = await readAgentConfig(store);
  if (!config) throw notEnrolled();
  const anchors = await store.readTrust();
  if (anchors.length === 0) {
    throw new AgentError('STATE_BROKEN', 'trust.pem is missing', {
      advice: 'restore it: the root certificate of the gateway',
    });
  }
  const plan = planGenerations(await store.listGenerations(), await store.currentGeneration());
  const newest =
    plan.candidate === undefined ? undefined : await loadGeneration(deps, plan.candidate).catch(() => undefined);
  const candidate = newest && 'identity' in newest ? newest.identity : undefined;
  if (plan.current === undefined) {
    if (!candidate) throw notEnrolled();
    log.info('an interrupted enrollment is completed', { generation: candidate.generation });
    await store.switchTo(candidate.generation);
    return { config, anchors, identity: candidate, candidate: undefined, interrupted: false };
  }
  const loaded = await loadGeneration(deps, plan.current);
  if (!loaded || !('identity' in loaded)) {
    throw new AgentError('STATE_BROKEN', `the current generation has no ${loaded ? 'certificate' : 'key'}`, {
      advice: 'restore the state folder from a copy, or enroll again with --replace and a new ticket',
    });
  }
  return {
    config,
    anchors,
    identity: loaded.identity,
    candidate,
    interrupted: newest !== undefined && 'pending' in newest,
  };
}

function notEnrolled(): AgentError {
  return new AgentError('NOT_ENROLLED', 'this state folder holds no identity', {
    advice: 'get a join URL (`gatehouse device add ID` on the gateway) and run `gatehouse-agent enroll JOIN-URL`',
  });
}
