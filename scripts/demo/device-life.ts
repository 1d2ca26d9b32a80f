import { createHash, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJoinUrl } from '#gateway/contract/join-url.ts';
import type {
  AuditEvent,
  DeviceAdded,
  DeviceDetail,
  DeviceRevoked,
  RenewOrdered,
} from '#gateway/contract/operator-api.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { fetchRevokedSerials } from './check-crl.ts';
import type { DemoStage } from './demo-stage.ts';
import { expect, expectSoon } from './expectation.ts';
import { knockWithoutCertificate } from './knock-without-certificate.ts';
import { readTelemetry } from './read-telemetry.ts';
import type { Timeline } from './timeline.ts';
import { PUMP, type TpmLife } from './tpm-life.ts';

export const PRESS = 'press-07';
export const MONITOR = 'monitor-1';
const DEVICES = [PRESS, MONITOR] as const;
/** Exit code of `gatehouse-agent` when it is the gateway that says no. */
const REFUSED = 3;

/**
 * One device, its whole life: every step is done with the real programs, then verified from another side.
 * @param tpm a second one beside it, or why there is none
 */
export async function liveOneLife(stage: DemoStage, timeline: Timeline, tpm: TpmLife | string): Promise<void> {
  const joinUrls = new Map<string, string>();
  let revokedSerials: string[] = [];

  await timeline.step('certificate authority and gateway are up', async () => {
    const { rootPem, rootSha256, est, mqtt, status } = await stage.startGateway();
    const root = new X509Certificate(await readFile(rootPem));
    const sha256 = createHash('sha256').update(root.raw).digest('hex');
    expect(sha256 === rootSha256, `the root in ${rootPem} to have SHA-256 ${rootSha256}`, sha256);
    const health = await fetch(new URL(STATUS_PATHS.readyz, status.url));
    expect(health.status === 200, 'the gateway to call itself ready', await health.text());
    return [`EST ${est.url}  MQTT ${mqtt.url}`, `root SHA-256 ${rootSha256}`];
  });

  await timeline.step('two devices are registered, each with a one-time ticket', async () => {
    const more = typeof tpm === 'string' ? [] : [await tpm.register(stage)];
    const readable = ['default', ...more.map(({ group }) => group)];
    await stage.gatehouse('group', 'add', 'monitors', '--read-from', readable.join(','));
    const groups = { [PRESS]: 'default', [MONITOR]: 'monitors' };
    for (const [deviceId, group] of Object.entries(groups)) {
      const added = await stage.gatehouse<DeviceAdded>('device', 'add', deviceId, '--group', group);
      const join = parseJoinUrl(added.joinUrl);
      expect(join.deviceId === deviceId, `a join URL for ${deviceId}`, join.deviceId);
      expect(join.rootSha256 === stage.ready.rootSha256, 'a join URL that pins the root', join.rootSha256);
      joinUrls.set(deviceId, added.joinUrl);
    }
    return [
      `${PRESS} in group default; ${MONITOR} in group monitors, which may read telemetry of ${readable.join(' and ')}`,
      ...more.map(({ fact }) => fact),
    ];
  });

  await timeline.step('both enroll over EST: own key, ticket, certificate', async () => {
    await Promise.all(DEVICES.map((id) => stage.agentOk(id, 'enroll', joinUrls.get(id) ?? '')));
    const facts: string[] = [];
    for (const deviceId of DEVICES) {
      const device = await stage.device(deviceId);
      expect(device.state === 'enrolled', `${deviceId} to be enrolled`, device.state);
      const pem = await readFile(join(stage.stateDir(deviceId), 'current', 'certificate.pem'));
      const certificate = new X509Certificate(pem);
      const name = `spiffe://gatehouse.internal/device/${deviceId}`;
      expect(certificate.subjectAltName === `URI:${name}`, `a certificate for ${name}`, certificate.subjectAltName);
      const active = activeSerial(device);
      expect(sameSerial(certificate.serialNumber, active), 'the certificate the gateway calls active', active);
      facts.push(`${name}  serial ${active}`);
    }
    return facts;
  });

  await timeline.step('both connect over MQTT with mutual TLS', async () => {
    await Promise.all(DEVICES.map((id) => stage.startAgent(id)));
    const devices = await Promise.all(
      DEVICES.map((id) => stage.deviceSoon(id, `${id} to have a session`, ({ session }) => session !== null)),
    );
    for (const device of devices) {
      const { session } = device;
      expect(session?.serial === activeSerial(device), 'a session with the active certificate', session);
    }
    return devices.map(({ deviceId, session }) => `${deviceId} from ${session?.address}`);
  });

  await timeline.step(`${PRESS} publishes, ${MONITOR} reads it`, async () => {
    const payload = JSON.stringify({ celsius: 71.4 });
    const message = await readTelemetry(stage, { from: PRESS, by: MONITOR, subtopic: 'temperature', payload });
    expect(message.topic === `v1/d/${PRESS}/out/data/temperature`, 'the topic of the press', message.topic);
    expect(message.payload === payload, `the payload ${payload}`, message.payload);
    return [`${message.topic}  ${message.payload}`];
  });

  if (typeof tpm === 'string') timeline.leaveOut(tpm);
  else await timeline.step(`${PUMP} joins with a key that never leaves its TPM`, () => tpm.join(stage, MONITOR));

  await timeline.step('those without the right are turned away', async () => {
    const topic = `v1/d/${MONITOR}/out/data/#`;
    const listened = await stage.agent(PRESS, 'listen', topic, '--count', '1', '--timeout', '5');
    expect(listened.exitCode === REFUSED, `${PRESS} to be refused ${topic}`, listened);
    const answer = await knockWithoutCertificate(stage.ready);
    return [`${PRESS} may not read ${topic}`, `no certificate, no session (${answer})`];
  });

  await timeline.step(`${PRESS} is renewed by a pushed notice`, async () => {
    const ordered = await stage.gatehouse<RenewOrdered>('device', 'renew', PRESS);
    const isSwitched = (device: DeviceDetail) =>
      activeSerial(device) !== ordered.serial &&
      stateOf(device, ordered.serial) === 'superseded' &&
      device.session?.serial === activeSerial(device) &&
      device.notices.some(({ id, state }) => id === ordered.noticeId && state === 'done');
    await stage.deviceSoon(PRESS, 'a new active certificate in use, the old one superseded', isSwitched);
    const device = await stage.gatehouse<DeviceDetail>('device', 'show', PRESS);
    expect(isSwitched(device), '`gatehouse device show` to say the same', device);
    return [`old ${ordered.serial} superseded`, `new ${activeSerial(device)} active, session moved to it`];
  });

  await timeline.step(`${PRESS} is revoked and loses its live session`, async () => {
    const serial = activeSerial(await stage.device(PRESS));
    const args = ['device', 'revoke', PRESS, '--reason', 'privilegeWithdrawn'];
    const revoked = await stage.gatehouse<DeviceRevoked>(...args);
    expect(revoked.serials.includes(serial), `serial ${serial} to be revoked`, revoked.serials);
    expect(revoked.sessionsClosed === 1, 'one session to be closed', revoked.sessionsClosed);
    const device = await stage.device(PRESS);
    expect(device.session === null, 'no session to be left', device.session);
    expect(device.state === 'revoked', 'the device to be revoked', device.state);
    revokedSerials = revoked.serials;
    return [`disconnected ${revoked.closedAfterMs} ms after the request`];
  });

  await timeline.step('it tries to reconnect and is refused', async () => {
    const query = { subject: PRESS, action: 'session.refused' };
    const [refusal] = await expectSoon(
      'a refused session in the audit',
      () => stage.operator().list<AuditEvent>('listAudit', query, 1),
      (events) => events.length > 0,
    );
    const readStatus = async () => JSON.parse((await stage.agent(PRESS, 'status', '--json')).stdout) as AgentStatus;
    const status = await expectSoon('the agent to know it', readStatus, ({ state }) => state === 'revoked');
    expect(!status.connected, 'the agent to have no session', status);
    const monitor = await stage.device(MONITOR);
    expect(monitor.session !== null, `${MONITOR} to be left alone`, monitor.session);
    return [`gateway: ${refusal?.code ?? ''} ${refusal?.detail ?? ''}`.trim(), `agent: ${status.state}`];
  });

  await timeline.step('the CRL lists it; openssl agrees', async () => {
    const listed = await expectSoon(
      'the CRL to list the revoked certificates',
      () => fetchRevokedSerials(stage),
      (serials) => revokedSerials.every((serial) => serials.some((other) => sameSerial(other, serial))),
    );
    return [`${listed.length} serial(s) on it, signature verified`];
  });
}

/** The part of `gatehouse-agent status --json` that is looked at here. */
type AgentStatus = { state: string; connected: boolean };

function activeSerial(device: DeviceDetail): string {
  return device.certificates.find(({ state }) => state === 'active')?.serial ?? 'none';
}

function stateOf(device: DeviceDetail, serial: string): string | undefined {
  return device.certificates.find((certificate) => certificate.serial === serial)?.state;
}

/** Tools differ in case and in leading zeros. */
function sameSerial(one: string, other: string): boolean {
  return plainSerial(one) === plainSerial(other);
}

function plainSerial(serial: string): string {
  return serial.toLowerCase().replace(/^0+/, '');
}
