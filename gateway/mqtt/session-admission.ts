import type { Client } from 'aedes';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Log } from '#gateway/ports/log.ts';
import { connackError } from './connack.ts';
import type { RefusalLimiter } from './refusal-limiter.ts';
import { endSession, type Session } from './session.ts';
import type { SessionOperations } from './session-operations.ts';
import type { SessionTable } from './session-table.ts';

export type AdmissionDeps = {
  table: SessionTable;
  operations: SessionOperations;
  limiter: RefusalLimiter;
  clock: Clock;
  log: Log;
};

/** MQTT 3.1.1 3.2.2.3: identifier rejected. */
const IDENTIFIER_REJECTED = 2;

/**
 * Judges a CONNECT and, when it is granted, makes the session its device's own.
 * @returns false when the client went away meanwhile.
 * @throws the error aedes answers with a CONNACK; the refusal is recorded
 */
export async function admitConnection(deps: AdmissionDeps, session: Session): Promise<boolean> {
  try {
    return await admit(deps, session);
  } catch (error) {
    throw refuse(deps, session, error);
  }
}

async function admit(deps: AdmissionDeps, session: Session): Promise<boolean> {
  const { table, operations, clock } = deps;
  const { certificate, connect, address } = session;
  if (certificate === undefined || connect === undefined) throw new Error('a CONNECT without its TLS session');
  const { clientId, clean, keepalive, willTopic } = connect;
  // MQTT 3.1.1 3.1.3-8: without a name there is no session to keep.
  if (clientId === '' && !clean) throw new NamelessSession();
  const grant = await operations.admitSession({
    der: certificate,
    clientId,
    keepalive,
    address,
    ...(willTopic === undefined ? {} : { willTopic }),
  });
  if (session.socket.destroyed) return false;
  // A revocation adds to the deny set first and looks into the table second. Nothing is awaited from here to the
  // registration, so either it is seen here, or it finds the session there.
  if (!operations.isStillAdmitted(grant.serial)) {
    const subject = { deviceId: grant.deviceId, serial: grant.serial };
    throw new GatewayError('CERTIFICATE_REVOKED', 'this certificate was revoked a moment ago', { subject });
  }
  const older = table.register(session, grant, clock.now());
  if (older !== undefined) endSession(older, 'taken-over');
  return true;
}

class NamelessSession extends Error {}

function refuse(deps: AdmissionDeps, session: Session, error: unknown): Error {
  const { operations, limiter, clock, log } = deps;
  const { address } = session;
  session.refused = true;
  session.certificate = undefined;
  if (error instanceof NamelessSession) {
    const detail = 'an empty client id needs CleanSession 1';
    operations.recordSessionRefused({ address, code: 'CLIENT_ID_REQUIRED', detail });
    return Object.assign(new Error('connection refused'), { returnCode: IDENTIFIER_REJECTED });
  }
  const answer = connackError(error);
  if (error instanceof GatewayError) {
    const { code, message, subject } = error;
    operations.recordSessionRefused({ ...subject, address, code, detail: message });
    if (answer.refusesDevice && subject.serial !== undefined) limiter.refused(subject.serial, clock.monotonic());
  } else {
    log.error('session admission failed', { address, error });
    operations.recordSessionRefused({ address, code: 'INTERNAL', detail: 'internal error, see the log' });
  }
  return answer;
}

/** The session of each of the broker's clients. */
export type SessionOf = (client: Client) => Session | undefined;
