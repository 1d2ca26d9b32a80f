import type { AgentErrorCode } from '#device-agent/domain/agent-error.ts';

/** One JSON object per line, both ways, over a unix socket that only its owner can open. */
export type ControlRequest =
  | { op: 'status' }
  | { op: 'renew' }
  | { op: 'reconnect' }
  | { op: 'publish'; subtopic: string; payload: string }
  | { op: 'listen'; filter: string };

/** `message` comes any number of times after the `ok` of `listen`, until the connection is closed. */
export type ControlAnswer =
  | { kind: 'ok'; result: unknown }
  | { kind: 'error'; code: AgentErrorCode; message: string; advice?: string; attemptId?: string }
  | { kind: 'message'; topic: string; payload: string; encoding?: 'base64' };

export const MAX_CONTROL_LINE = 256 * 1024;

/** @returns undefined when it is not a request. */
export function parseControlRequest(line: string): ControlRequest | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { op, subtopic, payload, filter } = value as Record<string, unknown>;
  if (op === 'status' || op === 'renew' || op === 'reconnect') return { op };
  if (op === 'publish' && typeof subtopic === 'string' && typeof payload === 'string') return { op, subtopic, payload };
  if (op === 'listen' && typeof filter === 'string') return { op, filter };
  return undefined;
}

/** Text as it is, anything else as base64. */
export function formatMessage(topic: string, payload: Buffer): ControlAnswer {
  const text = payload.toString('utf8');
  return Buffer.from(text, 'utf8').equals(payload)
    ? { kind: 'message', topic, payload: text }
    : { kind: 'message', topic, payload: payload.toString('base64'), encoding: 'base64' };
}
