import { Command, InvalidArgumentError } from 'commander';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { parseDuration } from './duration.ts';

/** What every command takes, before or after its own name. */
export type GlobalOptions = { data?: string; json?: boolean };

/** Shown under `--help`, ready to copy. */
export function withExamples(command: Command, ...examples: string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${examples.map((line) => `  $ ${line}`).join('\n')}`);
}

/** A command that only holds others. */
export function commandGroup(name: string, description: string): Command {
  return new Command(name).description(description);
}

/** Turns the RangeError of a parser into commander's usage error (exit code 2). */
export function usage<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

export const deviceIdArgument = usage(parseDeviceId);

/** Lower-case hexadecimal; colons and capitals are taken too. @throws RangeError */
export function parseSha256(text: string): string {
  const hex = text.toLowerCase().replace(/:/g, '');
  if (!/^[0-9a-f]{64}$/.test(hex))
    throw new RangeError(`"${text.slice(0, 80)}" is not a SHA-256 of 64 hexadecimal digits`);
  return hex;
}

export const sha256Argument = usage(parseSha256);

export const durationOption = usage(parseDuration);

/** `a,b` as a list; the empty string is the empty list. */
export function listOption(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}

/** For an option that may be given again: all its values in order. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}

/** @returns a parser that takes one of `choices` only. */
export function oneOf<T extends string>(choices: readonly T[], what: string): (text: string) => T {
  return usage((text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw new RangeError(`${what} is one of: ${choices.join(', ')}`);
    return found;
  });
}

/** A TCP port; 0 picks a free one. */
export const portOption = usage((text) => {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new RangeError('a port is a number from 0 to 65535');
  return port;
});

/** A positive whole number. */
export const countOption = usage((text) => {
  const count = Number(text);
  if (!/^\d{1,7}$/.test(text) || count < 1) throw new RangeError('give a whole number from 1');
  return count;
});
