import { parseSuggestedWindow, type SuggestedWindow } from '#gateway/contract/renewal-info.ts';

/** `notices.json`: what makes an old notice harmless. It is on the disk before a notice is acted upon. */
export type NoticeMemory = {
  version: 1;
  /** Highest `seq` accepted so far; only rises. */
  highestSeq: number;
  /** The last notices, newest last: QoS 1 may bring one twice, and an answer may be lost on its way. */
  handled: HandledNotice[];
  /** A renewal asked for by a notice and not yet ended. */
  order?: RenewalOrder;
  /** The window that a notice told last, of the certificate with this serial. */
  window?: PlannedWindow;
};

export type PlannedWindow = SuggestedWindow & { serial: string };

export type HandledNotice = {
  id: string;
  outcome: 'received' | 'done' | 'failed';
  detail?: string;
  /** True when the gateway has confirmed our answer with this outcome. */
  acknowledged: boolean;
};

/** `at`: the moment drawn from the suggested window. `since`: when it came; older versions did not write it. Milliseconds UTC. */
export type RenewalOrder = { noticeId: string; serial: string; at: number; since?: number };

export const MAX_HANDLED_NOTICES = 32;

export const EMPTY_NOTICE_MEMORY: NoticeMemory = { version: 1, highestSeq: -1, handled: [] };

/** @returns undefined when it is not a memory. */
export function parseNoticeMemory(value: unknown): NoticeMemory | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, highestSeq, handled, order, window } = value as Record<string, unknown>;
  if (version !== 1 || typeof highestSeq !== 'number' || !Number.isSafeInteger(highestSeq)) return undefined;
  if (!Array.isArray(handled) || !handled.every(isHandledNotice)) return undefined;
  return { version: 1, highestSeq, handled: handled.map(toHandledNotice), ...readOrder(order), ...readWindow(window) };
}

/** Adds the notice, or changes the outcome of the one with this id. A changed outcome is to be told again. */
export function rememberNotice(
  memory: NoticeMemory,
  notice: { id: string; seq?: number; outcome: HandledNotice['outcome']; detail?: string },
): NoticeMemory {
  const { id, seq, outcome, detail } = notice;
  const entry: HandledNotice = { id, outcome, acknowledged: false, ...(detail === undefined ? {} : { detail }) };
  const known = memory.handled.some((h) => h.id === id);
  const handled = known ? memory.handled.map((h) => (h.id === id ? entry : h)) : [...memory.handled, entry];
  return {
    ...memory,
    highestSeq: Math.max(memory.highestSeq, seq ?? -1),
    handled: handled.slice(-MAX_HANDLED_NOTICES),
  };
}

/** The gateway has our answer. Says nothing of a later outcome of the same notice. */
export function rememberAcknowledged(
  memory: NoticeMemory,
  id: string,
  outcome: HandledNotice['outcome'],
): NoticeMemory {
  const handled = memory.handled.map((h) => (h.id === id && h.outcome === outcome ? { ...h, acknowledged: true } : h));
  return { ...memory, handled };
}

export function withOrder(memory: NoticeMemory, order: RenewalOrder | undefined): NoticeMemory {
  const { order: _before, ...rest } = memory;
  return order === undefined ? rest : { ...rest, order };
}

function readWindow(value: unknown): { window?: PlannedWindow } {
  const window = parseSuggestedWindow(value);
  const { serial } = (value ?? {}) as { serial?: unknown };
  return window === undefined || typeof serial !== 'string' ? {} : { window: { ...window, serial } };
}

function isHandledNotice(value: unknown): value is HandledNotice {
  if (typeof value !== 'object' || value === null) return false;
  const { id, outcome, acknowledged, detail } = value as Record<string, unknown>;
  if (typeof id !== 'string' || typeof acknowledged !== 'boolean') return false;
  if (detail !== undefined && typeof detail !== 'string') return false;
  return outcome === 'received' || outcome === 'done' || outcome === 'failed';
}

/** Unknown fields are left behind. */
function toHandledNotice({ id, outcome, acknowledged, detail }: HandledNotice): HandledNotice {
  return { id, outcome, acknowledged, ...(detail === undefined ? {} : { detail }) };
}

/** A moment that never comes (JSON can say 1e999) is no order: it would neither be obeyed nor given up. */
function readOrder(value: unknown): { order?: RenewalOrder } {
  if (typeof value !== 'object' || value === null) return {};
  const { noticeId, serial, at, since } = value as Record<string, unknown>;
  if (typeof noticeId !== 'string' || typeof serial !== 'string' || !isMoment(at)) return {};
  return { order: { noticeId, serial, at, ...(isMoment(since) ? { since } : {}) } };
}

function isMoment(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
