/** Why a command did not do what it was asked. */
export type CommandErrorCode = 'FAILED' | 'USAGE' | 'NOT_RUNNING';

/** What a shell sees. */
export const EXIT_CODE = { FAILED: 1, USAGE: 2, NOT_RUNNING: 4 } as const satisfies Record<CommandErrorCode, number>;

/** What a shell sees when the command worked and the answer is not a plain yes. */
export const VERDICT_EXIT_CODE = { WAITS: 3, REFUSED: 5, INCOMPLETE: 6 } as const;

/** A command says what is wrong (`message`), then what to do next (`advice`). */
export class CommandError extends Error {
  readonly code: CommandErrorCode;
  readonly advice: string | undefined;
  /** The gateway's own code (such as ALREADY_EXISTS) when it was the gateway that refused. */
  readonly reason: string | undefined;

  constructor(
    code: CommandErrorCode,
    message: string,
    options: ErrorOptions & { advice?: string | undefined; reason?: string } = {},
  ) {
    super(message, options);
    this.name = 'CommandError';
    this.code = code;
    this.advice = options.advice;
    this.reason = options.reason;
  }
}
