import { z } from 'zod';
import { DEVICE_ID_RULE } from '#gateway/contract/device-id.ts';
import { DEFAULT_MQTT_LIMITS } from '#gateway/mqtt/mqtt-limits.ts';
import { MAX_KEEPALIVE_SECONDS } from '#gateway/operations/admit-session.ts';
import { CHANNELS, type ChannelDefinition } from './channels.ts';
import { CLAIM_EXAMPLE } from './examples.ts';
import { MESSAGES, type MessageDefinition } from './messages.ts';
import { SCHEMAS } from './schemas.ts';

type JsonObject = Record<string, unknown>;

export type MqttDescription = {
  /** Of the gateway. */
  version: string;
  /** Where devices reach the MQTT door. */
  address: { host: string; port: number };
};

/** Of the MQTT bindings of AsyncAPI. */
const BINDING_VERSION = '0.2.0';
const CONTENT_TYPE = { json: 'application/json', jws: 'application/jose', bytes: 'application/octet-stream' } as const;

/**
 * The MQTT contract as AsyncAPI 3.0.0, made from the topics of the contract and from schemas that are as strict as the
 * parsers. It describes the gateway: what it receives devices send.
 */
export function describeMqtt({ version, address }: MqttDescription): JsonObject {
  return {
    asyncapi: '3.0.0',
    info: { title: 'Gatehouse device contract', version, description: RULES },
    defaultContentType: CONTENT_TYPE.json,
    servers: { gateway: describeServer(address) },
    channels: mapValues(CHANNELS, describeChannel),
    operations: Object.fromEntries(
      Object.entries(CHANNELS).flatMap(([name, channel]) =>
        Object.entries(channel.operations).map(([id, action]) => [id, describeOperation(name, channel, action)]),
      ),
    ),
    components: {
      schemas: {
        ...mapValues(SCHEMAS, toSchema),
        ClaimFile: { ...toSchema(SCHEMAS.ClaimFile), examples: [CLAIM_EXAMPLE] },
      },
      messages: mapValues(MESSAGES, (message: MessageDefinition) => describeMessage(message)),
      parameters: {
        deviceId: { description: `Of the certificate that the session was made with: ${DEVICE_ID_RULE}.` },
        subtopic: { description: 'One level or more; 16 levels in all.' },
      },
      correlationIds: { requestId: { location: '$message.payload#/requestId' } },
      securitySchemes: {
        device: { type: 'X509', description: 'Mutual TLS with a certificate that this gateway gave to the device.' },
        enrollment: {
          type: 'X509',
          description:
            'Mutual TLS with a claim (schema ClaimFile), with a certificate of a maker that a group of this gateway trusts, or ' +
            'with an own certificate that has expired, for as long as the group of the device grants.',
        },
      },
    },
  };
}

const { maxPacketBytes, maxFilters } = DEFAULT_MQTT_LIMITS;

const RULES = `What devices and this gateway say to each other over MQTT 3.1.1 with mutual TLS.

- The client id is the device id (or empty). Sessions are always clean; keepalive 1 to ${MAX_KEEPALIVE_SECONDS} seconds.
- A packet has at most ${maxPacketBytes / 1024} KiB, a session at most ${maxFilters} topic filters. QoS 0 and 1; 2 is taken.
- JSON: unknown fields are ignored, messages of an unknown version are refused. Times are milliseconds UTC, bytes are
  base64 (RFC 4648 4) unless it says otherwise.
- A field that may be left out is ignored where it has another shape or is too long, as if it were not there, or is cut.
- Notices are compact JWS (RFC 7515); \`x-notice\` of a message is the schema of the decoded payload, \`x-notice-header\`
  that of the header. A notice is obeyed only when its signer leads to an anchor of the device.
- What is not described here is denied: a subscription with 0x80, a publish by the end of the connection.`;

function describeServer({ host, port }: MqttDescription['address']): JsonObject {
  return {
    host: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    protocol: 'secure-mqtt',
    protocolVersion: '3.1.1',
    description: 'TLS 1.2 or 1.3 with a client certificate, ALPN mqtt.',
    security: [securityOf('device'), securityOf('enrollment')],
    bindings: {
      mqtt: {
        cleanSession: true,
        keepAlive: MAX_KEEPALIVE_SECONDS,
        lastWill: {
          topic: CHANNELS['state']?.address,
          qos: 1,
          message: 'a state report with connected: false; optional, and none for a session that only enrolls',
          retain: false,
        },
        bindingVersion: BINDING_VERSION,
      },
    },
  };
}

function describeChannel({ address, description, messages }: ChannelDefinition): JsonObject {
  const parameters = [...address.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  return {
    address,
    description,
    servers: [ref('servers/gateway')],
    messages: Object.fromEntries(messages.map((name) => [name, ref(`components/messages/${name}`)])),
    ...(parameters.length === 0
      ? {}
      : { parameters: Object.fromEntries(parameters.map((name) => [name, ref(`components/parameters/${name}`)])) }),
  };
}

function describeOperation(name: string, channel: ChannelDefinition, action: 'send' | 'receive'): JsonObject {
  const { description, messages, qos, isRetained = false, answeredOn, openTo } = channel;
  const answers = answeredOn === undefined ? undefined : CHANNELS[answeredOn];
  return {
    action,
    channel: ref(`channels/${name}`),
    summary: description,
    security: [securityOf(openTo)],
    messages: messages.map((message) => ref(`channels/${name}/messages/${message}`)),
    bindings: { mqtt: { qos, retain: isRetained, bindingVersion: BINDING_VERSION } },
    ...(answers === undefined
      ? {}
      : {
          reply: {
            channel: ref(`channels/${answeredOn}`),
            messages: answers.messages.map((message) => ref(`channels/${answeredOn}/messages/${message}`)),
          },
        }),
  };
}

function describeMessage({ title, summary, payload, notice, isCorrelated, examples }: MessageDefinition): JsonObject {
  const contentType =
    payload === undefined ? CONTENT_TYPE.bytes : notice === undefined ? CONTENT_TYPE.json : CONTENT_TYPE.jws;
  const shown = Object.entries(examples);
  return {
    title,
    summary,
    contentType,
    ...(payload === undefined ? {} : { payload: ref(`components/schemas/${payload}`) }),
    ...(notice === undefined
      ? {}
      : { 'x-notice': ref(`components/schemas/${notice}`), 'x-notice-header': ref('components/schemas/NoticeHeader') }),
    ...(isCorrelated ? { correlationId: ref('components/correlationIds/requestId') } : {}),
    ...(shown.length === 0 ? {} : { examples: shown.map(([name, example]) => ({ name, payload: example })) }),
  };
}

function securityOf(scheme: ChannelDefinition['openTo']): JsonObject {
  return ref(`components/securitySchemes/${scheme}`);
}

function ref(place: string): { $ref: string } {
  return { $ref: `#/${place}` };
}

/** As JSON Schema of draft 7, on which the schema objects of AsyncAPI 3 are built; unknown fields are allowed. */
function toSchema(schema: z.ZodType): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    target: 'draft-7',
    io: 'input',
    override: ({ jsonSchema }) => {
      // No registered format: contentEncoding and the pattern say it.
      if (jsonSchema.format === 'base64') delete jsonSchema.format;
    },
  });
  return rest;
}

function mapValues<T, R>(record: Readonly<Record<string, T>>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}
