/** Why the checkout could not be made ready, and what the reader can do about it. */
export class SetUpError extends Error {
  /**
   * @param {string} message what is wrong
   * @param {string} advice what to do next
   */
  constructor(message, advice) {
    super(message);
    this.name = 'SetUpError';
    this.advice = advice;
  }
}

/** Progress and talk go to stderr: stdout belongs to the command that follows. @param {string} line */
export function say(line) {
  process.stderr.write(`set-up: ${line}\n`);
}
