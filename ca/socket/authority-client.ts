import { connect, type Socket } from 'node:net';
import {
  type AuthorityDescription,
  AuthorityError,
  type CrlOrder,
  type IssuedPage,
  type LastList,
  type SucceededAuthority,
} from '#ca/ports/certificate-authority.ts';
import type { IssuanceOrder, SerialNumber } from '#ca/ports/issuance-order.ts';
import { parseDescription } from './description-json.ts';
import { type Frame, FrameReader, formatFrame } from './frame.ts';
import { parseIssued, parseLastList } from './issued-json.ts';
import { type RequestBody, type Response, responseSchema } from './protocol.ts';

export type ConnectOptions = {
  /** Milliseconds until a call gives up; default 10 000. */
  timeout?: number;
};

/** More waiting calls than this mean the authority has stopped; refusing beats piling up. */
const MAX_WAITING = 4096;

/**
 * The authority behind a unix socket. Connects at the first call, and again at the next one after the connection broke;
 * calls share the connection and wait for each other's answers in no order. No call hangs: what is not answered fails
 * with AUTHORITY_UNAVAILABLE, and may then have happened (ask again with the same order, or findIssued).
 */
export function connectAuthority(
  socketPath: string,
  options: ConnectOptions = {},
): SucceededAuthority & { close(): Promise<void> } {
  return new AuthorityClient(socketPath, options.timeout ?? 10_000);
}

type Answer = { response: Response & { ok: true }; attachment: Buffer };
type Waiting = { resolve: (answer: Answer) => void; reject: (error: AuthorityError) => void };

class AuthorityClient implements SucceededAuthority {
  readonly #path: string;
  readonly #timeout: number;
  readonly #waiting = new Map<number, Waiting>();
  #socket: Socket | undefined;
  #lastId = 0;
  #closed = false;

  constructor(path: string, timeout: number) {
    this.#path = path;
    this.#timeout = timeout;
  }

  async describe(signal?: AbortSignal): Promise<AuthorityDescription> {
    return descriptionIn(await this.#call({ method: 'describe' }, undefined, signal));
  }

  async activateIssuer(keyId: string, signal?: AbortSignal): Promise<AuthorityDescription> {
    return descriptionIn(await this.#call({ method: 'activateIssuer', keyId }, undefined, signal));
  }

  async discardIssuer(keyId: string, signal?: AbortSignal): Promise<AuthorityDescription> {
    return descriptionIn(await this.#call({ method: 'discardIssuer', keyId }, undefined, signal));
  }

  async readIssued(from: number, signal?: AbortSignal): Promise<IssuedPage> {
    return parseIssued((await this.#call({ method: 'readIssued', from }, undefined, signal)).attachment);
  }

  async lastList(issuerKeyId: string, signal?: AbortSignal): Promise<LastList> {
    return parseLastList((await this.#call({ method: 'lastList', keyId: issuerKeyId }, undefined, signal)).attachment);
  }

  async issue(order: IssuanceOrder, signal?: AbortSignal): Promise<Buffer> {
    const { publicKey, ...rest } = order;
    return (await this.#call({ method: 'issue', order: rest }, publicKey, signal)).attachment;
  }

  async findIssued(serial: SerialNumber, signal?: AbortSignal): Promise<Buffer | undefined> {
    const { attachment } = await this.#call({ method: 'findIssued', serial }, undefined, signal);
    return attachment.length === 0 ? undefined : attachment;
  }

  async signCrl(order: CrlOrder, signal?: AbortSignal): Promise<Buffer> {
    const { entries, ...rest } = order;
    return (await this.#call({ method: 'signCrl', ...rest }, entries, signal)).attachment;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#lose(socket, unavailable('the connection was closed'));
    if (!socket.closed) await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  }

  #call(request: RequestBody, attachment: Buffer | undefined, signal: AbortSignal | undefined): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw unavailable('the client is closed');
      if (signal?.aborted === true) throw unavailable('the call was given up', signal.reason);
      if (this.#waiting.size >= MAX_WAITING) throw unavailable('too many calls wait for it');
      this.#lastId += 1;
      const id = this.#lastId;
      const frame = toFrame({ id, ...request }, attachment);
      const onAbort = () => settle(() => reject(unavailable('the call was given up', signal?.reason)));
      const timer = setTimeout(
        () => settle(() => reject(unavailable(`no answer in ${this.#timeout} ms`))),
        this.#timeout,
      );
      const settle = (act: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#waiting.delete(id);
        // An idle connection does not keep the process alive.
        if (this.#waiting.size === 0) this.#socket?.unref();
        act();
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.set(id, {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
      });
      const socket = (this.#socket ??= this.#connect());
      socket.ref();
      socket.cork();
      for (const part of frame) if (part.length > 0) socket.write(part);
      socket.uncork();
    });
  }

  #connect(): Socket {
    const socket = connect(this.#path);
    const reader = new FrameReader();
    let problem = unavailable('the connection ended');
    socket.on('error', (cause) => {
      problem = unavailable('it cannot be reached', cause);
    });
    socket.on('close', () => this.#lose(socket, problem));
    // Half open is of no use: whoever hangs up answers nothing any more.
    socket.on('end', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const frame of reader.read(chunk)) this.#take(frame);
      } catch (cause) {
        this.#lose(socket, unavailable('it does not speak our protocol', cause));
      }
    });
    return socket;
  }

  #take(frame: Frame): void {
    const response = responseSchema.parse(frame.json);
    // A call that gave up meanwhile is not there any more.
    const waiting = this.#waiting.get(response.id);
    if (response.ok) waiting?.resolve({ response, attachment: frame.attachment });
    else waiting?.reject(new AuthorityError(response.code, response.message));
  }

  #lose(socket: Socket, error: AuthorityError): void {
    socket.destroy();
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    for (const { reject } of this.#waiting.values()) reject(error);
  }
}

function toFrame(request: unknown, attachment: Buffer | undefined): [Buffer, Uint8Array] {
  try {
    return formatFrame(request, attachment);
  } catch (cause) {
    throw new AuthorityError('ORDER_MALFORMED', 'the order is too large for the authority', { cause });
  }
}

function unavailable(reason: string, cause?: unknown): AuthorityError {
  return new AuthorityError('AUTHORITY_UNAVAILABLE', `the certificate authority: ${reason}`, { cause });
}

function descriptionIn({ response: { description } }: Answer): AuthorityDescription {
  if (description !== undefined) return parseDescription(description);
  throw new AuthorityError('AUTHORITY_FAILED', 'the authority did not describe itself');
}
