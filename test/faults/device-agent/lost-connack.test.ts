import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openAgentState } from '#device-agent/operations/open-agent-state.ts';
import { AgentProcesses, ended } from '#test/fixtures/device-agent/agent-process.ts';
import { CuttingProxy } from '#test/fixtures/device-agent/cutting-proxy.ts';
import { RunningDevices } from '#test/fixtures/device-agent/running-devices.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

let gateway: TestGateway;
let proxy: CuttingProxy;
let agents: AgentProcesses;
let devices: RunningDevices;
beforeEach(async () => {
  gateway = await TestGateway.start();
  proxy = await CuttingProxy.start(() => gateway.mqttPort);
  gateway.toldMqttPort = proxy.port;
  agents = await AgentProcesses.create();
  devices = new RunningDevices();
});
afterEach(async () => {
  await devices.stopAll();
  await agents.stopAll();
  await proxy.stop();
  await gateway.stop();
});

/** The gateway lets the new certificate in, and its CONNACK never arrives. @returns how often that happened. */
function loseConnacksExceptFor(oldSerial: string): () => number {
  gateway.onConnect = (serial) => {
    if (serial !== oldSerial) proxy.cutNewest();
  };
  return () => gateway.connects.filter((serial) => serial !== oldSerial).length;
}

/** As a gateway does that has seen the new certificate: the old one ends after the overlap. */
function endOverlap(oldSerial: string): void {
  gateway.refused.add(oldSerial);
  gateway.dropSessions();
}

const lastSerial = () => gateway.states().findLast((state) => state['connected'] === true)?.['serial'];
const sessionsOf = (serial: string) =>
  gateway.states().filter((state) => state['connected'] === true && state['serial'] === serial).length;

describe('when the CONNACK for a new certificate is lost again and again', () => {
  test('the device stays connected with the old one, keeps the new one, and gets in with it in the end', async () => {
    const { serial, deps } = await devices.enrolled(gateway);
    const lost = loseConnacksExceptFor(serial);
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => lost() >= 5 && sessionsOf(serial) >= 3);
    endOverlap(serial);
    await gateway.until(() => lost() >= 8);
    const { identity, candidate } = await openAgentState(deps);
    expect(identity.certificate.serial).toBe(serial);
    gateway.onConnect = () => {};
    await gateway.until(() => gateway.acks(noticeId).includes('done') && lastSerial() !== serial);
    expect(lastSerial()).toBe(candidate?.certificate.serial);
    expect(gateway.calls).toHaveLength(2);
  });

  test('a restart in between changes nothing', async () => {
    expect(await agents.run(['enroll', gateway.joinUrl, '--no-confirm'])).toMatchObject({ code: 0 });
    const { child } = await agents.daemon([]);
    await gateway.until(() => gateway.states().length > 0);
    const serial = String(lastSerial());
    const lost = loseConnacksExceptFor(serial);
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => lost() >= 3);
    child.kill('SIGKILL');
    await ended(child);
    endOverlap(serial);
    const before = lost();
    await agents.daemon([]);
    await gateway.until(() => lost() >= before + 3);
    expect(await readdir(join(agents.folder, 'agent-state/generations'))).toEqual(['1', '2']);
    gateway.onConnect = () => {};
    await gateway.until(() => gateway.acks(noticeId).includes('done') && lastSerial() !== serial);
    expect(gateway.calls).toHaveLength(2);
  });
});

describe('a new certificate', () => {
  test('is not given up because the broker is busy (CONNACK 3)', async () => {
    const { serial } = await devices.enrolled(gateway);
    gateway.onConnect = (connecting) => {
      if (connecting !== serial) gateway.busy.add(connecting);
    };
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.connects.filter((connected) => connected !== serial).length >= 5);
    gateway.onConnect = () => {};
    gateway.busy.clear();
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    expect(gateway.calls).toHaveLength(2);
  });

  test('is kept however often it is refused while the old one is refused too', async () => {
    const { serial, deps } = await devices.enrolled(gateway);
    gateway.onConnect = (connecting) => gateway.refused.add(connecting);
    gateway.renewNotice(serial);
    const refusals = () => gateway.connects.filter((connected) => connected !== serial).length;
    await gateway.until(() => refusals() >= 1);
    endOverlap(serial);
    await gateway.until(() => refusals() >= 6);
    const newSerial = (await openAgentState(deps)).candidate?.certificate.serial;
    gateway.onConnect = () => {};
    gateway.refused.delete(String(newSerial));
    await gateway.until(() => lastSerial() === newSerial);
    expect(gateway.calls).toHaveLength(2);
  });

  test('that is refused is given up after a later session of the old one, and another is asked for soon', async () => {
    const { serial, agent, deps } = await devices.enrolled(gateway);
    const allowed = new Set([serial]);
    gateway.onConnect = (connecting) => {
      if (!allowed.has(connecting)) gateway.refused.add(connecting);
    };
    gateway.decide = () => (gateway.calls.length === 2 ? 'issue' : { status: 503, body: 'later' });
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).includes('failed'));
    const [refused = ''] = gateway.refused;
    expect(gateway.connects).toEqual([serial, refused, refused, refused, serial]);
    await gateway.until(() => gateway.calls.length >= 3);
    expect(gateway.calls[2]?.spki).not.toBe(gateway.calls[1]?.spki);
    // The wish for another is on the disk: it outlives a restart.
    await agent.stop();
    expect(await openAgentState(deps)).toMatchObject({ interrupted: true });
    gateway.decide = () => 'issue';
    gateway.onConnect = () => {};
    await devices.start(deps);
    await gateway.until(() => ![undefined, serial, refused].includes(lastSerial() as string));
  });
});

describe('a refused current certificate', () => {
  test('is not the last word while the one before is let in; then another is asked for', async () => {
    const { serial, agent, deps } = await devices.enrolled(gateway);
    const { newSerial } = await agent.renewNow();
    await gateway.until(() => lastSerial() === newSerial);
    gateway.refused.add(newSerial);
    gateway.dropSessions();
    await gateway.until(() => lastSerial() === serial);
    await gateway.until(() => ![serial, newSerial].includes(String(lastSerial())));
    expect(agent.status()).toMatchObject({ state: 'enrolled', connected: true });
    expect((await openAgentState(deps)).identity.certificate.serial).toBe(lastSerial());
  });

  test('does not make the order that comes after the step back fail', async () => {
    const { serial, agent } = await devices.enrolled(gateway);
    const { newSerial } = await agent.renewNow();
    await gateway.until(() => lastSerial() === newSerial);
    gateway.refused.add(newSerial);
    gateway.dropSessions();
    await gateway.until(() => lastSerial() === serial);
    const noticeId = gateway.renewNotice(serial);
    await gateway.until(() => gateway.acks(noticeId).length >= 2);
    expect(gateway.acks(noticeId)).toEqual(['received', 'done']);
    await gateway.until(() => ![serial, newSerial].includes(String(lastSerial())));
  });

  test('that was revoked by a notice is, although there is one before', async () => {
    const { agent } = await devices.enrolled(gateway);
    const { newSerial } = await agent.renewNow();
    await gateway.until(() => lastSerial() === newSerial);
    gateway.refused.add(newSerial);
    const noticeId = gateway.sendNotice({ kind: 'revoked', body: { serials: [newSerial], reason: 'x', advice: 'y' } });
    await gateway.until(() => gateway.acks(noticeId).includes('done'));
    const before = gateway.connects.length;
    gateway.dropSessions();
    await gateway.until(() => gateway.connects.length >= before + 4);
    expect(new Set(gateway.connects.slice(before))).toEqual(new Set([newSerial]));
  });
});
