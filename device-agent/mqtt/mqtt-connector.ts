import type { TLSSocket } from 'node:tls';
import { MqttClient } from 'mqtt';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { ConnectOutcome, MqttConnector, MqttTarget } from '#device-agent/ports/mqtt-connector.ts';
import { ClientSession } from './client-session.ts';
import type { DialBroker } from './dial-broker.ts';

const DIAL_TIMEOUT_MS = 15_000;
const CONNACK_TIMEOUT_MS = 15_000;

/** MQTT 3.1.1 over TLS, one client per attempt: a client that has seen an error is never brought back to life. */
export function createMqttConnector(dial: DialBroker): MqttConnector {
  return {
    async connect(target, signal) {
      let socket: TLSSocket;
      try {
        socket = await dial({ ...target, protocol: 'mqtt', timeoutMs: DIAL_TIMEOUT_MS }, signal);
      } catch (error) {
        return outcomeOfDial(error);
      }
      return connectOver(socket, target, signal);
    },
    async readGatewayDates(target, signal) {
      try {
        const socket = await dial({ ...target, protocol: 'mqtt', timeoutMs: DIAL_TIMEOUT_MS }, signal);
        socket.on('error', () => {});
        const shown = socket.getPeerX509Certificate();
        socket.destroy();
        if (shown === undefined) return undefined;
        const { notBefore, notAfter } = parseCertificate(shown.raw);
        return { notBefore, notAfter };
      } catch {
        return undefined;
      }
    },
  };
}

function connectOver(socket: TLSSocket, target: MqttTarget, signal: AbortSignal | undefined): Promise<ConnectOutcome> {
  return new Promise((resolve) => {
    socket.setNoDelay(true);
    const client = new MqttClient(() => socket, {
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: target.clientId,
      clean: true,
      keepalive: target.keepaliveSeconds,
      reconnectPeriod: 0,
      connectTimeout: CONNACK_TIMEOUT_MS,
      resubscribe: false,
      queueQoSZero: false,
      // A table of all 65536 packet ids would cost 7 MB for a few messages a day.
      writeCache: false,
      timerVariant: 'native',
      ...(target.will
        ? { will: { topic: target.will.topic, payload: Buffer.from(target.will.payload), qos: 1, retain: false } }
        : {}),
    });
    let detail = 'closed before CONNACK';
    let outcome: ConnectOutcome | undefined;
    const settle = (result: ConnectOutcome) => {
      if (outcome) return;
      outcome = result;
      signal?.removeEventListener('abort', onAbort);
      if (result.kind !== 'connected') client.end(true);
      resolve(result);
    };
    const onAbort = () => settle({ kind: 'unreachable', detail: 'stopped while connecting' });
    // Also after the outcome: an 'error' without a listener would end the process.
    client.on('error', (error) => {
      const code = 'code' in error ? error.code : undefined;
      if (typeof code === 'number' && code > 0) return settle({ kind: 'refused', code });
      detail = error.message;
      if (error.message === 'connack timeout') settle({ kind: 'unreachable', detail: 'no CONNACK in time' });
      return undefined;
    });
    client.once('close', () => settle({ kind: 'closed', detail }));
    client.once('connect', () => settle({ kind: 'connected', session: new ClientSession(client, socket) }));
    if (socket.destroyed) settle({ kind: 'closed', detail });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function outcomeOfDial(error: unknown): ConnectOutcome {
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof AgentError && error.code === 'GATEWAY_UNTRUSTED') return { kind: 'untrusted', detail };
  if (error instanceof AgentError && error.code === 'GATEWAY_REFUSED') return { kind: 'closed', detail };
  if (error instanceof AgentError && error.code === 'TPM_UNUSABLE')
    return { kind: 'key-unusable', detail, ...(error.advice === undefined ? {} : { advice: error.advice }) };
  return { kind: 'unreachable', detail };
}
