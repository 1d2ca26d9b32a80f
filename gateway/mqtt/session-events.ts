import type { EventEmitter } from 'node:events';
import type { Client, Subscription } from 'aedes';
import type { Log } from '#gateway/ports/log.ts';
import type { CsrDesk } from './csr-desk.ts';
import type { DeviceBroker } from './device-broker.ts';
import { PACKET_TOO_LARGE } from './packet-size-guard.ts';
import { type DeviceMember, endSession, type SessionOf } from './session.ts';
import type { SessionOperations } from './session-operations.ts';
import { filterCovers } from './topic-filter.ts';

export type EventDeps = {
  sessionOf: SessionOf;
  operations: SessionOperations;
  desk: Pick<CsrDesk, 'listens'>;
  log: Log;
};

/** SUBACK 0x80. */
const SUBSCRIBE_FAILED = 128;

/** What aedes tells about its clients, turned into what happens to their sessions. */
export function followBrokerEvents(aedes: DeviceBroker, deps: EventDeps): void {
  const { sessionOf, operations, desk, log } = deps;
  // An exception in a listener would end the process. The session it was about ends instead: half done is not done.
  const guarded = (event: string, client: Client, handler: () => void): void => {
    try {
      handler();
    } catch (error) {
      log.error('broker event failed', { event, error });
      const session = sessionOf(client);
      if (session !== undefined) endSession(session, 'internal-error');
    }
  };
  const onSubscribe = (subscriptions: Subscription[], client: Client) => {
    const session = sessionOf(client);
    const member = session?.member;
    if (session === undefined || member === undefined) return;
    const granted = subscriptions.filter(({ qos }) => (qos as number) !== SUBSCRIBE_FAILED);
    const covers = (wanted: string) => granted.some(({ topic }) => filterCovers(topic, wanted));
    if (covers(member.csr.answerTopic)) desk.listens(session, member);
    if (member.kind === 'enrollment' || !covers(member.noticeTopic)) return;
    member.listens = true;
    deliverPending(deps, member);
  };
  const onUnsubscribe = (filters: string[], client: Client) => {
    const member = sessionOf(client)?.member;
    if (member === undefined) return;
    for (const filter of filters) member.filters.delete(filter);
    const covers = (wanted: string) => [...member.filters].some((filter) => filterCovers(filter, wanted));
    member.csr.listens &&= covers(member.csr.answerTopic);
    if (member.kind === 'device') member.listens &&= covers(member.noticeTopic);
  };
  const onClientError = (client: Client, error: NodeJS.ErrnoException) => {
    const session = sessionOf(client);
    if (session === undefined || session.refused || session.endReason !== undefined) return;
    session.endReason = endReasonOf(error);
    if (session.member === undefined || session.endReason !== 'protocol-error') return;
    const { deviceId, serial } = session.member.live;
    log.warn('session broke the protocol', { deviceId, serial, address: session.address, detail: textOf(error) });
  };
  const onConnectionError = (client: Client, error: NodeJS.ErrnoException) => {
    const session = sessionOf(client);
    if (session === undefined || session.refused || session.endReason !== undefined) return;
    session.endReason = endReasonOf(error);
    if (session.endReason === 'connection-lost') return;
    session.refused = true;
    operations.recordSessionRefused({ address: session.address, ...refusalOf(error) });
  };
  aedes.on('subscribe', (filters, client) => guarded('subscribe', client, () => onSubscribe(filters, client)));
  aedes.on('unsubscribe', (filters, client) => guarded('unsubscribe', client, () => onUnsubscribe(filters, client)));
  aedes.on('clientError', (client, error) => guarded('clientError', client, () => onClientError(client, error)));
  aedes.on('connectionError', (client, error) =>
    guarded('connectionError', client, () => onConnectionError(client, error)),
  );
  // Without a listener an 'error' event ends the process.
  const emitter: EventEmitter = aedes;
  emitter.on('error', (error: unknown) => log.error('broker failed', { error }));
}

/** One delivery at a time for a session; a SUBSCRIBE that comes meanwhile is answered by one more. */
function deliverPending({ operations, log }: EventDeps, member: DeviceMember): void {
  if (member.delivery !== 'idle') {
    member.delivery = 'again';
    return;
  }
  member.delivery = 'running';
  const { deviceId, serial } = member.live;
  const deliver = async (): Promise<void> => {
    do {
      member.delivery = 'running';
      await operations.deliverPendingNotices({ deviceId, serial });
    } while (again(member));
  };
  deliver()
    .catch((error: unknown) => log.error('notices not delivered', { deviceId, serial, error }))
    .finally(() => {
      member.delivery = 'idle';
    });
}

function again({ delivery, listens, muted }: DeviceMember): boolean {
  return delivery === 'again' && listens && !muted;
}

function endReasonOf(error: NodeJS.ErrnoException): string {
  if (error.message === PACKET_TOO_LARGE) return 'packet-too-large';
  if (error.message === 'drain timeout') return 'too-slow';
  if (error.message === 'keep alive timeout') return 'keepalive-timeout';
  // System and TLS errors have a code: the peer or the network, not the protocol.
  if (error.code !== undefined || error.message === 'connection closed') return 'connection-lost';
  return 'protocol-error';
}

function refusalOf(error: NodeJS.ErrnoException): { code: string; detail: string } {
  if (error.message === PACKET_TOO_LARGE)
    return { code: 'PACKET_TOO_LARGE', detail: 'the first packet announces more bytes than are allowed' };
  if (error.message === 'connect did not arrive in time')
    return { code: 'CONNECT_TIMEOUT', detail: 'TLS was finished, but no CONNECT came in time' };
  return {
    code: 'MQTT_MALFORMED',
    detail: `the connection does not begin with a CONNECT of MQTT 3.1.1: ${textOf(error)}`,
  };
}

function textOf(error: Error): string {
  return error.message.slice(0, 200);
}
