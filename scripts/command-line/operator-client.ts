import { request } from 'node:http';
import type { Page, Problem } from '#gateway/contract/operator-api.ts';
import {
  OPERATOR_DOCUMENTS,
  OPERATOR_ROUTES,
  type OperatorRoute,
  operatorPath,
} from '#gateway/contract/operator-paths.ts';
import { CommandError } from './command-error.ts';
import { nextStepFor } from './next-step.ts';
import { gatewayNotRunning, readRunFile } from './run-file.ts';

type OperatorCall = {
  params?: readonly string[];
  query?: Readonly<Record<string, string | number | undefined>>;
  body?: unknown;
};

/** The operator API of the gateway on this host, over its unix socket. */
export type OperatorClient = {
  /** @throws CommandError: what the gateway refused and why, or NOT_RUNNING. */
  call<T>(route: OperatorRoute, call?: OperatorCall): Promise<T>;
  /** What programs can rely on, as a document. @throws CommandError */
  describe(what: keyof typeof OPERATOR_DOCUMENTS): Promise<unknown>;
  /** All pages of a list, or the first `limit` items. */
  list<T>(
    route: OperatorRoute,
    query?: OperatorCall['query'],
    limit?: number,
    params?: readonly string[],
  ): Promise<T[]>;
};

/** Revoking waits for sockets to close (1 s); everything else answers at once. */
const TIMEOUT_MS = 30_000;
const PAGE = 200;

/** Also those that turn the direction of writing: a fingerprint must not read backwards. */
const CONTROL_CHARACTERS = /[^\P{Cc}\n]|\p{Bidi_Control}/gu;

/** @throws CommandError NOT_RUNNING when no gateway uses this data folder. */
export async function connectOperator(dataDir: string): Promise<OperatorClient> {
  const { operatorSocket } = await readRunFile(dataDir);
  const call = async <T>(route: OperatorRoute, { params, query, body }: OperatorCall = {}): Promise<T> => {
    const path = operatorPath(route, params, query);
    const { method } = OPERATOR_ROUTES[route];
    const answer = await exchange({ dataDir, socketPath: operatorSocket, method, path, body });
    return readAnswer(answer, deviceOf(path, body)) as T;
  };
  const describe = async (what: keyof typeof OPERATOR_DOCUMENTS): Promise<unknown> => {
    const path = OPERATOR_DOCUMENTS[what];
    return readAnswer(
      await exchange({ dataDir, socketPath: operatorSocket, method: 'GET', path, body: undefined }),
      undefined,
    );
  };
  const list = async <T>(
    route: OperatorRoute,
    query: OperatorCall['query'] = {},
    limit = Number.POSITIVE_INFINITY,
    params: readonly string[] = [],
  ): Promise<T[]> => {
    const items: T[] = [];
    for (let after: string | null | undefined; after !== null && items.length < limit; ) {
      const size = Math.min(PAGE, limit - items.length);
      const page: Page<T> = await call(route, { params, query: { ...query, limit: size, after } });
      items.push(...page.items);
      after = page.nextCursor;
    }
    return items;
  };
  return { call, describe, list };
}

type Exchange = { dataDir: string; socketPath: string; method: string; path: string; body: unknown };

type Answer = { status: number; text: string };

function exchange({ dataDir, socketPath, method, path, body }: Exchange): Promise<Answer> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    accept: 'application/json, application/problem+json',
    ...(payload === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
  };
  return new Promise((resolve, reject) => {
    const message = request({ socketPath, method, path, headers, timeout: TIMEOUT_MS, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', (cause) => reject(brokenOff(cause)));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    message.on('timeout', () => message.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    message.on('error', (cause: NodeJS.ErrnoException) => {
      // A run file without a listener is what a killed gateway leaves behind.
      if (cause.code === 'ENOENT' || cause.code === 'ECONNREFUSED') reject(gatewayNotRunning(dataDir, cause));
      else reject(cause.code === 'EACCES' ? notAllowed(socketPath, cause) : brokenOff(cause));
    });
    message.end(payload);
  });
}

/** The device a request is about, so that advice can name it. */
function deviceOf(path: string, body: unknown): string | undefined {
  const [, inPath] = /^\/v1\/devices\/([^/?]+)/.exec(path) ?? [];
  return inPath ?? (body as { deviceId?: string } | undefined)?.deviceId;
}

function readAnswer({ status, text }: Answer, deviceId: string | undefined): unknown {
  let answer: unknown;
  try {
    answer = text === '' ? undefined : JSON.parse(text, harmless);
  } catch (cause) {
    throw new CommandError('FAILED', `the gateway's answer (HTTP ${status}) is not JSON`, {
      cause,
      advice: 'see the gateway log, and compare versions: gatehouse doctor',
    });
  }
  if (status >= 200 && status < 300) return answer;
  const { code, detail, title } = (answer ?? {}) as Partial<Problem>;
  throw new CommandError('FAILED', detail ?? title ?? `the gateway answered HTTP ${status}`, {
    ...(code ? { reason: code } : {}),
    advice: nextStepFor(code, deviceId),
  });
}

/** Some of what is shown came from devices: no control character of theirs may reach the terminal. Line ends may (PEM). */
function harmless(_key: string, value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll(CONTROL_CHARACTERS, '\uFFFD') : value;
}

function notAllowed(socketPath: string, cause: unknown): CommandError {
  return new CommandError('FAILED', `this user may not use ${socketPath}`, {
    cause,
    advice: 'run the command as the user that runs the gateway',
  });
}

function brokenOff(cause: unknown): CommandError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new CommandError('FAILED', `the conversation with the gateway broke off: ${detail}`, {
    cause,
    advice: 'look whether it still runs: gatehouse doctor',
  });
}
