import { hash } from 'node:crypto';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { formatName } from '#ca/pkix/name.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { type AgentConfig, formatAddress, type GatewayAddress } from '#device-agent/domain/agent-config.ts';
import { AgentError, asAgentError } from '#device-agent/domain/agent-error.ts';
import type { EnrollmentSession } from '#device-agent/ports/enrollment-session.ts';
import type { EstClient, TlsIdentity } from '#device-agent/ports/est-client.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { Log } from '#device-agent/ports/log.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { type DeviceId, isDeviceId } from '#gateway/contract/device-id.ts';
import { askTime, openDirectory } from './ask-time.ts';
import { type EnrollOrder, type EnrollStep, enrollsVia, type ManufacturerWay } from './enroll-order.ts';
import { verifyCaCertificates } from './first-contact.ts';
import { MqttEnrollment, type MqttEnrollmentDeps } from './mqtt-enrollment.ts';
import type { CertificateWish } from './request-certificate.ts';
import type { TimeKeeper } from './time-keeper.ts';

export type WayDeps = MqttEnrollmentDeps & { est: EstClient; keys: KeyProvider; log: Log };

type Steps = { onStart(step: EnrollStep): void; onDone(step: EnrollStep, detail: string): void };

/** An open, verified way to a first certificate. */
export type EnrollmentWay = {
  via: 'est' | 'mqtt';
  session: EnrollmentSession;
  /** What is known so far; device id and trust domain are settled by the certificate. */
  config: AgentConfig;
  /** DER. */
  anchors: Buffer[];
  request: Pick<CertificateWish, 'name' | 'subject' | 'intermediates'> &
    Partial<Pick<CertificateWish, 'basic' | 'patience'>>;
};

/** Over MQTT there is nobody to start the command again between two messages, as there is no person who waits for an answer. */
const MQTT_PATIENCE = 5;

const DEFAULT_EST_PORT = 8443;

/**
 * Reaches the gateway as the order says. Nothing secret leaves before it has shown a path to the pinned root.
 * @throws AgentError of the step that failed
 */
export function openWay(
  deps: WayDeps,
  order: EnrollOrder,
  time: TimeKeeper,
  steps: Steps,
  signal?: AbortSignal,
): Promise<EnrollmentWay> {
  return enrollsVia(order) === 'est'
    ? openEst(deps, order, time, steps, signal)
    : openMqtt(deps, order, time, steps, signal);
}

async function openEst(
  deps: WayDeps,
  order: EnrollOrder,
  time: TimeKeeper,
  steps: Steps,
  signal: AbortSignal | undefined,
): Promise<EnrollmentWay> {
  if ('claim' in order) throw new AgentError('USAGE', 'a claim is for MQTT');
  const address = 'join' in order ? { host: order.join.host, port: order.join.port } : order.manufacturer.gateway;
  const pinned = 'join' in order ? { sha256: order.join.rootSha256 } : order.manufacturer.root;
  const { root, intermediates } = await knowRoot(deps.est, pinned, { address, time, steps }, signal);
  const anchors = [root];
  steps.onStart('directory');
  // RFC 7030 4.1.1: a new session, verified from the root on, before anything else.
  const { session, directory } = await openDirectory(
    { ...deps, time },
    {
      address,
      anchors,
      ...('join' in order ? {} : { identity: tlsIdentityOf(order.manufacturer) }),
      ...(order.label === undefined ? {} : { label: order.label }),
    },
    signal,
  );
  try {
    const { trustDomain } = directory;
    const mqtt = { host: directory.mqtt.host ?? address.host, port: directory.mqtt.port };
    steps.onDone('directory', `${trustDomain}, MQTT at ${formatAddress(mqtt)}`);
    const deviceId = 'join' in order ? order.join.deviceId : deviceIdOf(order.manufacturer);
    const known = 'join' in order ? deviceId : order.manufacturer.deviceId;
    return {
      via: 'est',
      session,
      config: configOf(deps, order, { est: address, mqtt, deviceId, trustDomain, root }),
      anchors,
      request: {
        name: { trustDomain, ...(known === undefined ? {} : { deviceId: known }) },
        subject: subjectOf(known),
        intermediates,
        ...('join' in order ? { basic: { user: deviceId, password: order.join.ticket } } : {}),
      },
    };
  } catch (error) {
    session.close();
    throw error;
  }
}

/** The pinned root: at hand, or found by its fingerprint in what EST shows to everybody, and asks nothing for. */
async function knowRoot(
  est: EstClient,
  pinned: ManufacturerWay['root'],
  { address, time, steps }: { address: GatewayAddress; time: TimeKeeper; steps: Steps },
  signal: AbortSignal | undefined,
): Promise<{ root: Buffer; intermediates: Buffer[] }> {
  if (Buffer.isBuffer(pinned)) return { root: pinned, intermediates: [] };
  steps.onStart('reach');
  const offered = await est.fetchUnverifiedCaCertificates(address, signal);
  steps.onDone('reach', formatAddress(address));
  steps.onStart('verify');
  const verified = verifyCaCertificates(offered, pinned.sha256, time.trustedNow());
  steps.onDone('verify', `root SHA-256 ${pinned.sha256}`);
  return verified;
}

async function openMqtt(
  deps: WayDeps,
  order: EnrollOrder,
  time: TimeKeeper,
  steps: Steps,
  signal: AbortSignal | undefined,
): Promise<EnrollmentWay> {
  if ('join' in order) throw new AgentError('USAGE', 'a join URL is for EST');
  const start = 'claim' in order ? startOfClaim(order.claim) : startOfManufacturer(order.manufacturer);
  const { mqtt, deviceId } = start;
  const root = await knowRootForMqtt(deps.est, start, { time, steps }, signal);
  const reached: EnrollStep = Buffer.isBuffer(start.root) ? 'reach' : 'connect';
  const session = new MqttEnrollment(deps, {
    address: mqtt,
    trust: () => time.trust([root]),
    now: () => time.now(),
    identity: start.identity,
    deviceId,
    ...(order.label === undefined ? {} : { label: order.label }),
    endsAt: endOf(start.identity),
    advice: start.advice,
  });
  steps.onStart(reached);
  try {
    await session.start(signal);
  } catch (error) {
    const isUntrusted = asAgentError(error, 'STATE_BROKEN').code === 'GATEWAY_UNTRUSTED';
    // Before there is a session nothing over MQTT tells the time; where EST is reached, it does.
    if (!isUntrusted || !(await askTime({ ...deps, time }, { address: start.est, anchors: [root] }, signal)))
      throw error;
    await session.start(signal);
  }
  steps.onDone(reached, `${formatAddress(mqtt)} over MQTT, as "${deviceId}"`);
  return {
    via: 'mqtt',
    session,
    config: configOf(deps, order, { est: start.est, mqtt, deviceId, trustDomain: start.name.trustDomain ?? '', root }),
    anchors: [root],
    request: {
      name: start.name,
      subject: subjectOf(start.name.deviceId),
      intermediates: [],
      patience: MQTT_PATIENCE,
    },
  };
}

/** The MQTT door shows no root in TLS, and tells nothing to strangers. @throws AgentError with what to do instead */
async function knowRootForMqtt(
  est: EstClient,
  start: MqttStart,
  { time, steps }: { time: TimeKeeper; steps: Steps },
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  try {
    return (await knowRoot(est, start.root, { address: start.est, time, steps }, signal)).root;
  } catch (thrown) {
    const error = asAgentError(thrown, 'STATE_BROKEN');
    if (error.code !== 'GATEWAY_UNREACHABLE') throw error;
    throw new AgentError(error.code, `the root certificate is fetched from the EST door: ${error.message}`, {
      cause: error,
      advice: 'say where EST is, --est HOST:PORT, or give the root certificate itself, --root FILE',
    });
  }
}

type MqttStart = {
  root: ManufacturerWay['root'];
  est: GatewayAddress;
  mqtt: GatewayAddress;
  deviceId: DeviceId;
  name: CertificateWish['name'];
  identity: TlsIdentity;
  advice: string;
};

function startOfClaim(claim: ClaimFile): MqttStart {
  const { deviceId, trustDomain, est, mqtt } = claim;
  return {
    root: rootOf(claim.root),
    est,
    mqtt,
    deviceId,
    name: { deviceId, trustDomain },
    identity: { key: claim.privateKey, certificates: claim.certificates },
    advice: `a claim is good once and for an hour: get a new one, \`gatehouse ticket claim ${deviceId}\``,
  };
}

function startOfManufacturer(way: ManufacturerWay): MqttStart {
  const { gateway, est = { host: gateway.host, port: DEFAULT_EST_PORT }, deviceId } = way;
  return {
    root: way.root,
    est,
    mqtt: gateway,
    deviceId: deviceIdOf(way),
    name: deviceId === undefined ? {} : { deviceId },
    identity: tlsIdentityOf(way),
    advice:
      'a group of the gateway has to trust the CA of the maker, and the device must have the name it asks for: give ' +
      '--device-id when that is not its serial number; the log of the gateway tells the reason',
  };
}

/** Before the gateway has told: the name given, or the serial number that the maker wrote. */
function deviceIdOf({ deviceId, identity }: ManufacturerWay): DeviceId {
  if (deviceId !== undefined) return deviceId;
  if (isDeviceId(identity.serialNumber)) return identity.serialNumber;
  const what =
    identity.serialNumber === undefined ? 'has no serial number' : 'has a serial number that is no device id';
  throw new AgentError('USAGE', `the IDevID certificate ${what}`, {
    advice: 'give the name that the device has at the gateway: --device-id ID',
  });
}

/** A name that may be another one is left out: the gateway refuses a CSR that names somebody else. */
function subjectOf(deviceId: DeviceId | undefined): Buffer {
  return formatName(deviceId === undefined ? {} : { commonName: deviceId });
}

function configOf(
  deps: WayDeps,
  order: EnrollOrder,
  known: Pick<AgentConfig, 'est' | 'mqtt' | 'deviceId' | 'trustDomain'> & { root: Buffer },
): AgentConfig {
  const { root, ...rest } = known;
  return {
    version: 1,
    ...rest,
    rootSha256: hash('sha256', root, 'hex'),
    keyProvider: deps.keys.name,
    renewVia: order.renewVia ?? 'auto',
  };
}

function tlsIdentityOf({ identity }: ManufacturerWay): TlsIdentity {
  return { key: identity.key, certificates: identity.certificates };
}

function rootOf(pem: string): Buffer {
  const [root] = parsePem(pem, 'CERTIFICATE');
  if (!root) throw new AgentError('USAGE', 'the claim file holds no root certificate');
  return root;
}

/** Milliseconds UTC. */
function endOf({ certificates }: TlsIdentity): number {
  const [leaf] = parsePem(certificates, 'CERTIFICATE');
  return leaf ? parseCertificate(leaf).notAfter : 0;
}
