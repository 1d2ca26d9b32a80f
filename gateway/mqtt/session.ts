import type { TLSSocket } from 'node:tls';
import type { Client } from 'aedes';
import type { TopicIdentity } from '#gateway/domain/topic-policy.ts';
import type { LiveSession } from '#gateway/ports/broker.ts';
import type { BrokerClient } from './broker-client.ts';

/** One connection, from the end of its TLS handshake to the close of its socket. */
export type Session = {
  readonly id: number;
  readonly socket: TLSSocket;
  readonly address: string;
  /** The broker's end of it. */
  client: BrokerClient | undefined;
  /** The client certificate; dropped once it has been judged. */
  certificate: Buffer | undefined;
  /** Set when CONNECT was granted. */
  member: Member | undefined;
  /** The refusal is in the log already. */
  refused: boolean;
  /** The first reason counts: what follows is its consequence. */
  endReason: string | undefined;
  /** The socket is closed, not only destroyed: `socket.closed` is true too early, before the system knows. */
  closed: boolean;
};

/** Who the session belongs to and what it is doing. */
export type Member = {
  readonly live: LiveSession;
  readonly identity: TopicIdentity;
  readonly group: string;
  readonly notAfter: number;
  /** Topics of this device that it may write begin with this. */
  readonly outPrefix: string;
  readonly noticeTopic: string;
  readonly filters: Set<string>;
  /** When it was marked as revoked. */
  revokedSince: number | undefined;
  /** A granted filter covers its notice topic. */
  listens: boolean;
  /** Nothing it still has to say (its will included) is passed on. */
  muted: boolean;
  /** Reports being worked on. */
  pendingReports: number;
  delivery: 'idle' | 'running' | 'again';
};

/** Ends the connection at once. @returns false when it was ending already. */
export function endSession(session: Session, reason: string): boolean {
  if (session.socket.destroyed) return false;
  session.endReason ??= reason;
  session.socket.destroy();
  return true;
}

/** Resolves when the socket is closed. */
export function whenClosed(session: Session): Promise<void> {
  return new Promise((resolve) => {
    if (session.closed) resolve();
    else session.socket.once('close', () => resolve());
  });
}

/** The session of each of the broker's clients. */
export type SessionOf = (client: Client) => Session | undefined;
