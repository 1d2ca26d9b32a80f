export type SimulatorErrorCode =
  /** The command makes no sense as typed; nothing was started. */
  | 'USAGE'
  | 'GATEWAY_NOT_RUNNING'
  | 'GATEWAY_START_FAILED'
  /** The folder with the maker of the simulated TPMs. */
  | 'MAKER_BROKEN'
  /** The gateway would refuse every one of its TPMs. */
  | 'MAKER_NOT_TRUSTED'
  /** This process may not open as many sockets as the fleet needs. */
  | 'TOO_FEW_FILES'
  /** The operator door said no; `reason` is its code. */
  | 'OPERATOR_REFUSED'
  /** One step of one device took longer than a device would be given. */
  | 'TIMEOUT'
  /** A session that should have stayed ended. */
  | 'SESSION_LOST'
  /** The gateway told the device that it is revoked. */
  | 'REVOKED'
  /** Ctrl-C, or the time limit of the whole run. */
  | 'INTERRUPTED';

/** The one error of the simulator: the message says what is wrong, `advice` what to do next. */
export class SimulatorError extends Error {
  readonly code: SimulatorErrorCode;
  readonly advice: string | undefined;
  /** The gateway's own code, when it gave one. */
  readonly reason: string | undefined;
  constructor(
    code: SimulatorErrorCode,
    message: string,
    details: { advice?: string; reason?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'SimulatorError';
    this.code = code;
    this.advice = details.advice;
    this.reason = details.reason;
  }
}
