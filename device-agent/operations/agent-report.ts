import { readProofLevel } from '#ca/pkix/proof-level.ts';
import { AGENT_VERSION } from '#device-agent/domain/agent-version.ts';
import type { RuntimeFacts } from '#device-agent/domain/runtime-facts.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { AgentState } from '#gateway/contract/reports.ts';
import { deviceTopics } from '#gateway/contract/topics.ts';
import type { Identity } from './identity.ts';

/** @param clock the wall clock as it is, milliseconds UTC: the gateway sees how wrong it is. */
export function formatAgentState(
  identity: Identity,
  facts: {
    connected: boolean;
    clock: number;
    nextRenewalAt: number | null;
    hook: RuntimeFacts['hook'];
    rolledBack?: RuntimeFacts['rolledBack'];
    run?: string;
    count?: number | undefined;
    anchors?: string[];
  },
): AgentState {
  return {
    version: 1,
    connected: facts.connected,
    agentVersion: AGENT_VERSION,
    serial: identity.certificate.serial,
    proofLevel: readProofLevel(identity.certificate),
    clock: facts.clock,
    nextRenewalAt: facts.nextRenewalAt,
    ...(facts.hook ? { hook: facts.hook } : {}),
    ...(facts.rolledBack ? { rolledBack: facts.rolledBack } : {}),
    ...(facts.run === undefined ? {} : { run: facts.run }),
    ...(facts.count === undefined ? {} : { count: facts.count }),
    ...(facts.anchors === undefined ? {} : { anchors: facts.anchors }),
  };
}

/** The will: sent by the broker when the session ends without a word. */
export function formatWill(deviceId: DeviceId, identity: Identity, clock: number): { topic: string; payload: string } {
  const state = formatAgentState(identity, { connected: false, clock, nextRenewalAt: null, hook: undefined });
  return { topic: deviceTopics(deviceId).state, payload: JSON.stringify(state) };
}
