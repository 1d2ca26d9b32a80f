import type { LogFacts } from '#gateway/ports/log.ts';

/** Names whose values never reach the log, whoever puts them there by mistake. Ids of tickets and keys may. */
const SECRET_NAME = /^(ticket|secret|token|password|passphrase|authorization|cookie|csr|key|private_?key|join_?url)$/i;

const MAX_DEPTH = 4;
const MAX_ITEMS = 50;
const MAX_TEXT = 2_000;

/** A copy fit for the log: secrets by name removed, bytes as their length, errors with their causes, sizes bounded. */
export function redactFacts(facts: LogFacts): LogFacts {
  return Object.fromEntries(Object.entries(facts).map(([name, value]) => [name, redact(name, value, 0)]));
}

function redact(name: string, value: unknown, depth: number): unknown {
  if (value === undefined || value === null) return value;
  if (SECRET_NAME.test(name)) return '[redacted]';
  if (typeof value === 'string') return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}...` : value;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object') return value;
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (value instanceof Date) return value.toISOString();
  if (depth >= MAX_DEPTH) return '[deep]';
  if (value instanceof Error) return redactError(value, depth);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => redact('', item, depth + 1));
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(entries.map(([key, item]) => [key, redact(key, item, depth + 1)]));
}

function redactError(error: Error, depth: number): unknown {
  return {
    type: error.name,
    message: error.message.slice(0, MAX_TEXT),
    ...('code' in error ? { code: String(error.code) } : {}),
    stack: error.stack?.slice(0, MAX_TEXT),
    ...(error.cause === undefined ? {} : { cause: redact('cause', error.cause, depth + 1) }),
  };
}
