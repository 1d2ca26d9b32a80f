import { connect, type Socket } from 'node:net';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { type ControlAnswer, type ControlRequest, MAX_CONTROL_LINE } from './control-protocol.ts';
import { onLines } from './line-reader.ts';

/** Messages carry their payload as base64 at worst, JSON-escaped. */
const MAX_ANSWER_LINE = 4 * MAX_CONTROL_LINE;

/** A connection to the running agent of this state folder. */
export class ControlClient {
  readonly #socket: Socket;
  readonly #waiting: { resolve: (result: unknown) => void; reject: (error: AgentError) => void }[] = [];
  #onMessage: ((message: Extract<ControlAnswer, { kind: 'message' }>) => void) | undefined;
  /** Resolves when the agent has gone or `close` was called. */
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const { reject } of this.#waiting.splice(0)) {
          reject(new AgentError('AGENT_NOT_RUNNING', 'the running agent has ended'));
        }
        resolve();
      });
    });
    onLines(socket, MAX_ANSWER_LINE, (line) => this.#take(JSON.parse(line) as ControlAnswer));
  }

  /** @returns undefined when no agent runs there. */
  static connect(path: string): Promise<ControlClient | undefined> {
    return new Promise((resolve) => {
      const socket = connect(path);
      const onError = () => resolve(undefined);
      socket.once('error', onError);
      socket.once('connect', () => {
        socket.off('error', onError);
        resolve(new ControlClient(socket));
      });
    });
  }

  /** @throws AgentError as the agent says, AGENT_NOT_RUNNING when it ends before it answers. */
  request(request: ControlRequest): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#socket.write(`${JSON.stringify(request)}\n`);
    });
  }

  onMessage(listener: (message: Extract<ControlAnswer, { kind: 'message' }>) => void): void {
    this.#onMessage = listener;
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(answer: ControlAnswer): void {
    switch (answer.kind) {
      case 'message':
        return this.#onMessage?.(answer);
      case 'ok':
        return this.#waiting.shift()?.resolve(answer.result);
      case 'error': {
        const { kind: _kind, code, message, ...details } = answer;
        return this.#waiting.shift()?.reject(new AgentError(code, message, details));
      }
    }
  }
}
