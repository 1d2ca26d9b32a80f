import { pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';
import type { Log, LogFacts } from '#gateway/ports/log.ts';
import { LineBuffer } from './line-buffer.ts';
import { redactFacts } from './redact.ts';

type PinoLogOptions = {
  level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** For people (colours, one line an entry) instead of JSON Lines. Default: when stderr is a terminal. */
  pretty?: boolean;
  /** Stands in every line, to tell processes apart. */
  name?: string;
};

/** Milliseconds and characters: a write to the system for each line costs more than making the line. */
const GATHER = { delayMs: 50, maxLength: 16_000 };

/**
 * The log on stderr; stdout belongs to the output of commands. Errors, and lines for people, are written at once; the
 * others gather for a moment, which is what a process that is killed can lose.
 */
export function createPinoLog({ level, name, pretty: forPeople = process.stderr.isTTY }: PinoLogOptions): Log {
  const destination = forPeople
    ? pretty({ destination: 2, sync: true, ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l' })
    : new LineBuffer(pino.destination({ dest: 2, sync: true }), GATHER);
  const logger = pino(
    {
      level,
      base: name === undefined ? { pid: process.pid } : { pid: process.pid, name },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  const write = (method: 'debug' | 'info' | 'warn' | 'error') => (message: string, facts?: LogFacts) => {
    if (!logger.isLevelEnabled(method)) return;
    if (facts === undefined) logger[method](message);
    else logger[method](redactFacts(facts), message);
    if (method === 'error' && destination instanceof LineBuffer) destination.flush();
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}
