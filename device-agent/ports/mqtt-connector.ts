import type { GatewayTrust, TlsIdentity } from './est-client.ts';

export type MqttTarget = {
  address: { host: string; port: number };
  trust: GatewayTrust;
  identity: TlsIdentity;
  clientId: string;
  keepaliveSeconds: number;
  /** None in a session that may only enroll. */
  will?: { topic: string; payload: string };
};

/** Success is CONNACK 0 and nothing before it: in TLS 1.3 the client is done before the server has judged it. */
export type ConnectOutcome =
  | { kind: 'connected'; session: MqttSession }
  /** CONNACK with this code: the broker knows us and says no. */
  | { kind: 'refused'; code: number }
  /** Closed after TCP and before CONNACK: probably refused in TLS, which cannot say so. */
  | { kind: 'closed'; detail: string }
  | { kind: 'unreachable'; detail: string }
  /** Not our gateway. */
  | { kind: 'untrusted'; detail: string }
  /** Nothing was wrong out there: our own key could not be used. */
  | { kind: 'key-unusable'; detail: string; advice?: string };

export type MessageListener = (topic: string, payload: Buffer) => void;

export interface MqttSession {
  /** Set before subscribing. One listener. */
  onMessage(listener: MessageListener): void;
  /** QoS 1. @returns the filters that were denied. */
  subscribe(filters: string[]): Promise<string[]>;
  unsubscribe(filters: string[]): Promise<void>;
  /** QoS 1; resolves with the PUBACK. */
  publish(topic: string, payload: string | Buffer): Promise<void>;
  /** What binds a CSR to this connection (RFC 7030 3.5). @throws AgentError when it has ended */
  channelBinding(): Buffer;
  /** Resolves once, however the session ends. Never rejects. */
  readonly ended: Promise<{ detail: string }>;
  /** Clean DISCONNECT: no will is sent. */
  close(): Promise<void>;
  /** Cut without a word. */
  drop(): void;
}

export interface MqttConnector {
  /** One attempt with a client of its own. Never rejects. */
  connect(target: MqttTarget, signal?: AbortSignal): Promise<ConnectOutcome>;
  /**
   * When the certificate of the gateway begins and ends, milliseconds UTC; chain and name are verified, dates only as far as
   * `trust` says. TLS and not a word more. @returns undefined: not reached, or not ours. Never rejects.
   */
  readGatewayDates(
    target: Pick<MqttTarget, 'address' | 'trust' | 'identity'>,
    signal?: AbortSignal,
  ): Promise<{ notBefore: number; notAfter: number } | undefined>;
}
