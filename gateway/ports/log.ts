export type LogFacts = Record<string, unknown>;

/** A constant message with the facts in fields. Never keys, tickets, evidence or whole CSRs. */
export interface Log {
  debug(message: string, facts?: LogFacts): void;
  info(message: string, facts?: LogFacts): void;
  warn(message: string, facts?: LogFacts): void;
  error(message: string, facts?: LogFacts): void;
}
