/** What a device sends to the gateway, as JSON on its own topics. */

/** On `out/ack`. `received` comes at once; `done` or `failed` when the work the notice asked for has ended. */
export type NoticeAck = {
  noticeId: string;
  outcome: 'received' | 'done' | 'failed';
  detail?: string;
  /** The answer to an `attest` notice. */
  evidence?: AttestEvidence;
};

/** What TPM2_Certify says of the key of the certificate in use, base64, without the size octets of TPM2B types. */
export type AttestEvidence = {
  /** TPMS_ATTEST; its qualifying data binds the nonce of the notice to this key. */
  attest: string;
  signature: string;
  /** TPMT_PUBLIC of the key. */
  publicArea: string;
};

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
  /** When it means to renew by itself, milliseconds UTC: the gateway tells it another time when that is not its own plan. */
  nextRenewalAt: number | null;
  /** How the owner's hook ended after the last renewal. */
  hook?: { exitCode: number | null; timedOut: boolean; at: number };
  /** Its last renewal brought a certificate that was not let in: it has gone back to the one before. Until one succeeds. */
  rolledBack?: RolledBack;
  /** Of the agent's process: another one at each start, and never one again. 16 hexadecimal digits. */
  run?: string;
  /** Kept on its disk, and one higher in each report. Left out when the disk would not take it. */
  count?: number;
  /** SHA-256 of each trust anchor in use, lower-case hexadecimal. */
  anchors?: string[];
};

/** The certificate that did not work, why, and when by the agent's clock, milliseconds UTC. */
export type RolledBack = { serial: string; reason: string; at: number };

/** More anchors than any device has. */
const MAX_REPORTED_ANCHORS = 16;

/** Longer than any part of the evidence of a TPM. */
const MAX_EVIDENCE_CHARACTERS = 4096;

export function parseNoticeAck(value: unknown): NoticeAck | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { noticeId, outcome, detail, evidence } = value as Record<string, unknown>;
  if (typeof noticeId !== 'string' || noticeId.length > 64) return undefined;
  if (outcome !== 'received' && outcome !== 'done' && outcome !== 'failed') return undefined;
  return {
    noticeId,
    outcome,
    ...(typeof detail === 'string' ? { detail: detail.slice(0, 500) } : {}),
    ...readEvidence(evidence),
  };
}

function readEvidence(value: unknown): { evidence?: AttestEvidence } {
  if (typeof value !== 'object' || value === null) return {};
  const { attest, signature, publicArea } = value as Record<string, unknown>;
  if (!isBase64(attest) || !isBase64(signature) || !isBase64(publicArea)) return {};
  return { evidence: { attest, signature, publicArea } };
}

function isBase64(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_EVIDENCE_CHARACTERS && /^[A-Za-z0-9+/]+={0,2}$/.test(value);
}

/** @returns the fields the gateway acts on, or undefined when the report is not one. */
export function parseAgentState(
  value: unknown,
):
  | (Pick<AgentState, 'connected' | 'serial' | 'agentVersion' | 'run' | 'count' | 'anchors' | 'rolledBack'> &
      Partial<Pick<AgentState, 'clock' | 'nextRenewalAt'>>)
  | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, connected, serial, agentVersion, run, count, anchors, clock, nextRenewalAt, rolledBack } =
    value as Record<string, unknown>;
  const back = parseRolledBack(rolledBack);
  if (version !== 1 || typeof connected !== 'boolean' || typeof serial !== 'string' || serial.length > 40)
    return undefined;
  return {
    connected,
    serial,
    agentVersion: typeof agentVersion === 'string' ? agentVersion.slice(0, 64) : '',
    ...(typeof run === 'string' && /^[0-9a-f]{16}$/.test(run) ? { run } : {}),
    ...(typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? { count } : {}),
    ...(isAnchorList(anchors) ? { anchors } : {}),
    ...(back === undefined ? {} : { rolledBack: back }),
    ...(isMoment(clock) ? { clock } : {}),
    ...(nextRenewalAt === null || isMoment(nextRenewalAt) ? { nextRenewalAt } : {}),
  };
}

/** @returns undefined when it is none; what it says is cut to what a line can hold. */
export function parseRolledBack(value: unknown): RolledBack | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { serial, reason, at } = value as Record<string, unknown>;
  if (typeof serial !== 'string' || serial.length > 40 || typeof reason !== 'string') return undefined;
  if (typeof at !== 'number' || !Number.isSafeInteger(at) || at < 0) return undefined;
  return { serial, reason: reason.slice(0, 300), at };
}

function isMoment(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isAnchorList(value: unknown): value is string[] {
  if (!Array.isArray(value) || value.length > MAX_REPORTED_ANCHORS) return false;
  return value.every((sha256) => typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256));
}
