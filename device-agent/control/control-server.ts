import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import type { RunningAgent } from '#device-agent/operations/running-agent.ts';
import { type ControlAnswer, formatMessage, MAX_CONTROL_LINE, parseControlRequest } from './control-protocol.ts';
import { onLines } from './line-reader.ts';

/**
 * The running agent's ear for local programs. Whoever holds the socket holds the state folder: a second agent cannot
 * start on it.
 */
export class ControlServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #agent: RunningAgent | undefined;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => this.#serve(socket));
  }

  /**
   * @param path at most 103 bytes: give a relative one from inside the state folder.
   * @throws AgentError AGENT_RUNNING
   */
  static async listen(path: string): Promise<ControlServer> {
    const server = createServer();
    try {
      await listenOn(server, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      if (await isAnswered(path)) {
        throw new AgentError('AGENT_RUNNING', 'an agent runs on this state folder already', {
          advice: 'use it (`status`, `renew`), or stop it first',
        });
      }
      // Left by a process that was killed.
      await rm(path, { force: true });
      await listenOn(server, path);
    }
    await chmod(path, 0o600);
    return new ControlServer(server);
  }

  /** Before it, requests are answered with AGENT_NOT_RUNNING. */
  attach(agent: RunningAgent): void {
    this.#agent = agent;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    // Also removes the socket from the folder.
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let isOpen = true;
    let unlisten: (() => void) | undefined;
    socket.on('error', () => {});
    socket.on('close', () => {
      isOpen = false;
      this.#sockets.delete(socket);
      unlisten?.();
    });
    const answer = (message: ControlAnswer) => {
      if (isOpen) socket.write(`${JSON.stringify(message)}\n`);
    };
    const take = async (line: string) => {
      const stop = await this.#answer(line, answer);
      unlisten?.();
      unlisten = stop;
      if (!isOpen) stop?.();
    };
    onLines(socket, MAX_CONTROL_LINE, (line) => void take(line));
  }

  /** @returns how to end what goes on after the answer, if anything does. */
  async #answer(line: string, answer: (message: ControlAnswer) => void): Promise<(() => void) | undefined> {
    try {
      const request = parseControlRequest(line);
      if (!request)
        throw new AgentError('USAGE', 'this agent does not understand the request; is it of another version?');
      const agent = this.#agent;
      if (!agent) throw new AgentError('AGENT_NOT_RUNNING', 'the agent is starting; try again');
      switch (request.op) {
        case 'status':
          answer({ kind: 'ok', result: agent.status() });
          return undefined;
        case 'renew':
          answer({ kind: 'ok', result: await agent.renewNow() });
          return undefined;
        case 'reconnect':
          agent.reconnect();
          answer({ kind: 'ok', result: null });
          return undefined;
        case 'publish':
          answer({ kind: 'ok', result: await agent.publish(request.subtopic, request.payload) });
          return undefined;
        case 'listen': {
          const unlisten = await agent.listen(request.filter, (topic, payload) =>
            answer(formatMessage(topic, payload)),
          );
          answer({ kind: 'ok', result: null });
          return unlisten;
        }
      }
    } catch (thrown) {
      const { code, message, advice, attemptId } = asAgentError(thrown, 'STATE_BROKEN');
      answer({
        kind: 'error',
        code,
        message,
        ...(advice === undefined ? {} : { advice }),
        ...(attemptId === undefined ? {} : { attemptId }),
      });
    }
    return undefined;
  }
}

function listenOn(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const finish = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}
