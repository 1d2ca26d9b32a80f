/** What a device sends to the gateway, as JSON on its own topics. */

/** On `out/ack`. `received` comes at once; `done` or `failed` when the work the notice asked for has ended. */
export type NoticeAck = { noticeId: string; outcome: 'received' | 'done' | 'failed'; detail?: string };

/** On `out/state`, after every connect and every change; with `connected: false` it is the agent's will. */
export type AgentState = {
  version: 1;
  connected: boolean;
  agentVersion: string;
  /** The certificate the agent has switched to: the gateway may now supersede the older ones. */
  serial: string;
  proofLevel: string;
  /** The agent's clock, milliseconds UTC. */
  clock: number;
  nextRenewalAt: number | null;
  /** How the owner's hook ended after the last renewal. */
  hook?: { exitCode: number | null; timedOut: boolean; at: number };
};

export function parseNoticeAck(value: unknown): NoticeAck | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { noticeId, outcome, detail } = value as Record<string, unknown>;
  if (typeof noticeId !== 'string' || noticeId.length > 64) return undefined;
  if (outcome !== 'received' && outcome !== 'done' && outcome !== 'failed') return undefined;
  return { noticeId, outcome, ...(typeof detail === 'string' ? { detail: detail.slice(0, 500) } : {}) };
}

/** @returns the fields the gateway acts on, or undefined when the report is not one. */
export function parseAgentState(
  value: unknown,
): { connected: boolean; serial: string; agentVersion: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, connected, serial, agentVersion } = value as Record<string, unknown>;
  if (version !== 1 || typeof connected !== 'boolean' || typeof serial !== 'string' || serial.length > 40)
    return undefined;
  return { connected, serial, agentVersion: typeof agentVersion === 'string' ? agentVersion.slice(0, 64) : '' };
}
