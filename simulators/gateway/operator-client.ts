import { Agent, request } from 'node:http';
import type { Problem } from '#gateway/contract/operator-api.ts';
import {
  OPERATOR_ROUTES,
  type OperatorResponses,
  type OperatorRoute,
  operatorPath,
} from '#gateway/contract/operator-paths.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';

const TIMEOUT_MS = 30_000;

/** The operator API over the gateway's unix socket, with a few kept connections: thousands of devices are registered. */
export class OperatorClient {
  readonly #socketPath: string;
  readonly #agent: Agent;

  /** @param connections open at once. */
  constructor(socketPath: string, connections: number) {
    this.#socketPath = socketPath;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  /** @throws SimulatorError OPERATOR_REFUSED with the gateway's code, GATEWAY_NOT_RUNNING. */
  async call<Route extends OperatorRoute>(
    route: Route,
    params: readonly string[] = [],
    body?: unknown,
    signal?: AbortSignal,
    query?: Readonly<Record<string, string | number>>,
  ): Promise<OperatorResponses[Route]> {
    const { status, text } = await this.#exchange(
      OPERATOR_ROUTES[route].method,
      operatorPath(route, params, query),
      body,
      signal,
    );
    const answer: unknown = text === '' ? undefined : JSON.parse(text);
    if (status >= 200 && status < 300) return answer as OperatorResponses[Route];
    const { code, detail, title } = (answer ?? {}) as Partial<Problem>;
    throw new SimulatorError('OPERATOR_REFUSED', detail ?? title ?? `the gateway answered HTTP ${status}`, {
      reason: code,
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal | undefined,
  ): Promise<{ status: number; text: string }> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown) => reject(brokenOff(cause));
      const message = request(
        {
          socketPath: this.#socketPath,
          agent: this.#agent,
          method,
          path,
          timeout: TIMEOUT_MS,
          headers:
            payload === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
          ...(signal ? { signal } : {}),
        },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('error', fail);
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }),
          );
        },
      );
      message.on('timeout', () => message.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
      message.on('error', fail);
      message.end(payload);
    });
  }
}

function brokenOff(cause: unknown): SimulatorError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SimulatorError('GATEWAY_NOT_RUNNING', `the gateway's operator socket does not answer: ${why}`, {
    cause,
    advice: 'look whether the gateway still runs: gatehouse doctor',
  });
}
