import type { Log, LogFields } from '#device-agent/ports/log.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One JSON object per line. */
export function createJsonLog(options: { level: LogLevel; write: (line: string) => void; now: () => number }): Log {
  const lowest = LOG_LEVELS.indexOf(options.level);
  const at =
    (level: Exclude<LogLevel, 'silent'>) =>
    (message: string, fields: LogFields = {}) => {
      if (LOG_LEVELS.indexOf(level) < lowest) return;
      const line = { time: new Date(options.now()).toISOString(), level, message, ...fields };
      options.write(`${JSON.stringify(line)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
