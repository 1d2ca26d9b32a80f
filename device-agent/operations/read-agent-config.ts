import { type AgentConfig, parseAgentConfig } from '#device-agent/domain/agent-config.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';

/**
 * @returns undefined in a folder that never held an identity.
 * @throws AgentError STATE_BROKEN; also when there are keys and no record that can be read: it was written before them.
 */
export async function readAgentConfig(store: StateStore): Promise<AgentConfig | undefined> {
  const record = await store.readRecord('agent');
  if (record !== undefined) return parseAgentConfig(record);
  if ((await store.listGenerations()).length === 0) return undefined;
  throw new AgentError('STATE_BROKEN', 'agent.json cannot be used: it is missing, empty or not JSON', {
    advice: 'restore the state folder from a copy, or enroll into an empty one with a new ticket',
  });
}
