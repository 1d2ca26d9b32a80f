export type RuntimeErrorCode =
  | 'KEY_FILE_UNREADABLE'
  | 'KEY_FILE_EXPOSED'
  | 'CERTIFICATE_FILE_UNREADABLE'
  | 'SOCKET_IN_USE'
  | 'SOCKET_PATH_TOO_LONG'
  | 'WEBHOOK_FAILED';

/** What the machine around the gateway does not allow. The message says what is wrong and what to do. */
export class RuntimeError extends Error {
  readonly code: RuntimeErrorCode;
  constructor(code: RuntimeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RuntimeError';
    this.code = code;
  }
}
