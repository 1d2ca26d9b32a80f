import { cp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { AgentProcesses, ended } from '#test/fixtures/device-agent/agent-process.ts';
import { TestAuthority } from '#test/fixtures/device-agent/test-authority.ts';
import { TestGateway } from '#test/fixtures/device-agent/test-gateway.ts';

const KILLER = import.meta.resolve('#test/fixtures/device-agent/kill-at-step.ts');

let gateway: TestGateway;
let agents: AgentProcesses;
let state: string;
beforeEach(async () => {
  gateway = await TestGateway.start();
  agents = await AgentProcesses.create();
  state = join(agents.folder, 'agent-state');
  expect(await agents.run(['enroll', gateway.joinUrl, '--no-confirm'])).toMatchObject({ code: 0 });
  await cp(state, `${state}.enrolled`, { recursive: true });
});
afterEach(async () => {
  await agents.stopAll();
  await gateway.stop();
});

const connected = () => gateway.states().filter((report) => report['connected'] === true);
const isConnected = () => connected().length > 0;

async function currentSerial(): Promise<string> {
  const [der] = parsePem(await readFile(join(state, 'current/certificate.pem'), 'utf8'), 'CERTIFICATE');
  return parseCertificate(der ?? Buffer.alloc(0)).serial;
}

/**
 * One device after the other, each killed in the middle of another change of these files and started again.
 * @param order what it is told when it is connected @returns the changes, of the run in which all of them were made
 */
async function killEverywhere(
  paths: RegExp,
  order: () => string,
  check: (where: string) => Promise<void>,
): Promise<string[]> {
  const log = join(agents.folder, 'steps');
  for (let killAt = 1; ; killAt += 1) {
    await rm(state, { recursive: true, force: true });
    await cp(`${state}.enrolled`, state, { recursive: true });
    for (const seen of [gateway.published, gateway.calls, gateway.connects]) seen.length = 0;
    await writeFile(log, '');
    const env = { ...process.env, KILL_AT: String(killAt), KILL_PATHS: paths.source, KILL_LOG: log };
    const child = agents.start(['run', '--no-crl'], { env, nodeArguments: ['--import', KILLER] });
    child.stderr?.resume();
    const killed = ended(child);
    await Promise.race([killed, gateway.until(isConnected)]);
    const noticeId = order();
    const isDone = () => gateway.acks(noticeId).includes('done');
    await Promise.race([killed, gateway.until(isDone)]);
    // All that follows the last answer is on the disk when it has ended cleanly.
    child.kill('SIGTERM');
    await killed;
    const steps = (await readFile(log, 'utf8')).split('\n').slice(0, -1);
    if (steps.length < killAt) return steps;
    // As the gateway does, which has no answer yet.
    const { child: next } = await agents.daemon(['--no-crl']);
    const known = gateway.published.length;
    await gateway.until(() => gateway.published.slice(known).some(({ topic }) => topic.endsWith('/out/state')));
    if (!isDone()) gateway.resend(noticeId);
    await gateway.until(isDone);
    next.kill('SIGTERM');
    await ended(next);
    await check(`killed in ${steps.at(-1)}`);
  }
}

describe('a real agent, killed with -9 in the middle of every change that it makes', () => {
  test('of keys and certificates in a renewal, finishes that with one key', async () => {
    const serial = await currentSerial();
    const steps = await killEverywhere(
      /generations|current/,
      () => gateway.renewNotice(serial),
      async (where) => {
        const now = await currentSerial();
        expect(now, where).not.toBe(serial);
        expect(connected().at(-1)?.['serial'], where).toBe(now);
        expect(new Set(gateway.calls.map(({ spki }) => spki)).size, where).toBe(1);
        // The old certificate does not come back once the new one was reported.
        const reportedAt = gateway.connects.indexOf(now);
        expect(gateway.connects.slice(reportedAt), where).not.toContain(serial);
      },
    );
    expect(steps.filter((step) => step.endsWith('generations/2'))).not.toEqual([]);
    expect(steps).toContain('rename current');
    expect(steps.length).toBeGreaterThan(18);
    expect(await readlink(join(state, 'current'))).toBe('generations/2');
  });

  test('of anchors, has those of before or of after, and obeys the notice in the end', async () => {
    const other = await TestAuthority.create();
    const anchors = [gateway.authority.rootDer, other.rootDer];
    const body = { version: 7, anchors: anchors.map((der) => der.toString('base64')), intermediates: [] };
    const steps = await killEverywhere(
      /trust\.(pem|json)/,
      () => gateway.sendNotice({ kind: 'trust', body }),
      async (where) => {
        const pem = await readFile(join(state, 'trust.pem'), 'utf8');
        expect(parsePem(pem, 'CERTIFICATE'), where).toEqual(anchors);
        expect(JSON.parse(await readFile(join(state, 'trust.json'), 'utf8')), where).toMatchObject({ trustVersion: 7 });
      },
    );
    expect(steps).toEqual(expect.arrayContaining(['rename trust.pem', 'rename trust.json']));
  });
});
