import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseJoinUrl } from '#gateway/contract/join-url.ts';
import { makeRsaKey } from '#test/fixtures/ca/keys.ts';
import { AgentProcess } from '#test/fixtures/processes/agent-process.ts';
import { makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { PROGRAMS, run } from '#test/fixtures/processes/program.ts';
import { RunningProcess } from '#test/fixtures/processes/running-process.ts';

describe('a technician brings a device in', () => {
  let gateway: GatewayProcess;
  const started: RunningProcess[] = [];
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    await Promise.all(started.map((one) => one.stop()));
    await gateway?.dispose();
  });

  function technician(...args: string[]): RunningProcess {
    const tool = new RunningProcess('technician', [PROGRAMS.technician, '--data', gateway.dataDir, ...args]);
    started.push(tool);
    return tool;
  }

  test('with ticket, join URL and QR, and sees each step as it happens', async () => {
    const tool = technician('pump-17');
    const line = await said(tool, /gatehouse-agent enroll gatehouse:/);
    const url = /gatehouse:\/\/\S+/.exec(line)?.[0] ?? '';
    const { deviceId, ticket, rootSha256 } = parseJoinUrl(url);
    expect([deviceId, rootSha256]).toEqual(['pump-17', gateway.ready.rootSha256]);
    const shown = tool.stdout.join('\n');
    expect(shown).toMatch(new RegExp(`ticket +.*${ticket}`));
    // The QR code: half blocks, as wide as it is high.
    expect(shown.match(/^.*[▀▄█]{8}.*$/gm)?.length).toBeGreaterThan(10);

    const agent = new AgentProcess(gateway.folder, 'pump-17');
    await agent.enroll(url, '--no-confirm');
    await said(tool, /certificate issued/);
    expect(tool.stdout.some((text) => /connected over MQTT/.test(text))).toBe(false);
    await agent.connect();
    await said(tool, /connected over MQTT/);
    expect((await tool.ended).code).toBe(0);
    await agent.stop();
  });

  test('and reads the exact reason, and what to do, when an attempt is refused; then the next one is right', async () => {
    const tool = technician('valve-1', '--json');
    const first = JSON.parse(await said(tool, /"ticket"/)) as { ticket: string; joinUrl: string };
    const headers = basic('valve-1', first.ticket);
    const refused = await postCsr(gateway, 'simpleenroll', await makeCsr(makeRsaKey(1024)), { headers });
    expect(refused.status).toBe(400);
    expect(JSON.parse(await said(tool, /"refused"/))).toMatchObject({
      event: 'refused',
      deviceId: 'valve-1',
      code: 'KEY_NOT_ALLOWED',
      detail: expect.stringContaining('RSA 1024'),
      advice: expect.stringContaining('gatehouse group set'),
      attemptId: refused.header('Gatehouse-Attempt'),
    });
    await new AgentProcess(gateway.folder, 'valve-1').enroll(first.joinUrl);
    expect((await tool.ended).code).toBe(0);
    const events = tool.stdout.map((line) => (JSON.parse(line) as { event: string }).event);
    expect(events).toEqual(['ticket', 'reached', 'refused', 'issued', 'connected']);
  });

  test('and is told when the time is over, with where to look', async () => {
    const tool = technician('silent-1', '--timeout', '1s');
    expect((await tool.ended).code).toBe(1);
    expect(tool.log.map(({ text }) => text).join('\n')).toMatch(/has not reached the gateway[\s\S]*next: /);
  });

  test('but not one that is in already', async () => {
    const { code, stderr } = await run(process.execPath, [PROGRAMS.technician, 'pump-17', '--data', gateway.dataDir]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/enrolled/);
  });

  test('and is asked for a name when there is none and nobody to ask', async () => {
    const { code, stderr } = await run(process.execPath, [PROGRAMS.technician, '--data', gateway.dataDir]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/no device id/);
  });
});

function said(tool: RunningProcess, pattern: RegExp): Promise<string> {
  return tool.until(String(pattern), () => tool.stdout.find((line) => pattern.test(line)));
}
