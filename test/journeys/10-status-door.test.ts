import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { parseCrl, verifyCrlSignature } from '#ca/revocation/parse-crl.ts';
import { STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { RawClient } from '#test/fixtures/mqtt/raw-client.ts';
import { enrollByHand, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { basic, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { eventually } from '#test/fixtures/processes/eventually.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { mqttDoorOf } from '#test/fixtures/processes/mqtt-door.ts';

describe('the status door', () => {
  let gateway: GatewayProcess;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway?.dispose());

  function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return fetch(new URL(path, gateway.ready.status.url), { headers });
  }

  async function pem(name: string): Promise<Buffer> {
    const [der = Buffer.alloc(0)] = parsePem(await readFile(join(gateway.dataDir, 'ca', name), 'utf8'), 'CERTIFICATE');
    return der;
  }

  test('serves the CRL, signed by the intermediate, for caches to keep a while', async () => {
    const answer = await get(STATUS_PATHS.crl);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/pkix-crl');
    expect(answer.headers.get('cache-control')).toMatch(/^public, max-age=\d+$/);
    const crl = parseCrl(Buffer.from(await answer.arrayBuffer()));
    expect(verifyCrlSignature(crl, parseCertificate(await pem('intermediate.pem')).publicKey)).toBe(true);
    const again = await get(STATUS_PATHS.crl, { 'If-None-Match': answer.headers.get('etag') ?? '' });
    expect(again.status).toBe(304);
    const modified = answer.headers.get('last-modified') ?? '';
    expect((await get(STATUS_PATHS.crl, { 'If-Modified-Since': modified })).status).toBe(304);
  });

  test('is where every certificate says that its CRL is', async () => {
    const certificate = parseCertificate((await enrollByHand(gateway, 'reader-1')).der);
    const url = `${gateway.ready.status.url}${STATUS_PATHS.crl}`;
    expect(certificate.der.includes(Buffer.from(url))).toBe(true);
    expect((await fetch(url)).status).toBe(200);
    const issuer = `${gateway.ready.status.url}${STATUS_PATHS.intermediate}`;
    expect(certificate.der.includes(Buffer.from(issuer))).toBe(true);
  });

  test('serves root and intermediate, as DER and PEM', async () => {
    for (const [path, name] of [
      [STATUS_PATHS.root, 'root.pem'],
      [STATUS_PATHS.intermediate, 'intermediate.pem'],
    ] as const) {
      const answer = await get(path);
      expect(answer.headers.get('content-type')).toBe('application/pkix-cert');
      expect(Buffer.from(await answer.arrayBuffer()).equals(await pem(name))).toBe(true);
    }
    for (const [path, name] of [
      [STATUS_PATHS.rootPem, 'root.pem'],
      [STATUS_PATHS.intermediatePem, 'intermediate.pem'],
    ] as const) {
      const [der] = parsePem(await (await get(path)).text(), 'CERTIFICATE');
      expect(der?.equals(await pem(name))).toBe(true);
    }
  });

  test('counts what happens', async () => {
    const client = await RawClient.connected(mqttDoorOf(gateway), await enrollByHand(gateway, 'counted-1'), {
      clientId: 'counted-1',
    });
    const answer = await get(STATUS_PATHS.metrics);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await answer.text();
    expect(text).toMatch(/^gatehouse_\w*sessions?\w*(\{.*\})? 1$/m);
    expect(text).toMatch(/enroll.*outcome="issued".* [1-9]/);
    expect(text).not.toContain('counted-1');
    client.destroy();
  });

  test('answers other paths and methods in plain words', async () => {
    expect((await get('/')).status).toBe(404);
    expect((await get('/crl/../../etc/passwd')).status).toBe(404);
    expect((await fetch(new URL(STATUS_PATHS.crl, gateway.ready.status.url), { method: 'POST' })).status).toBe(404);
  });

  test('says ready only while it can issue: not when the authority is killed, and again when it is back', async () => {
    const ready = async () => {
      const answer = await get(STATUS_PATHS.readyz);
      return {
        status: answer.status,
        checks: ((await answer.json()) as { checks: { name: string; ok: boolean }[] }).checks,
      };
    };
    expect(await ready()).toMatchObject({ status: 200 });
    const [mark, killed] = [gateway.mark(), gateway.authorityPid];
    // Stopped, not killed, so that nobody starts another one: it is there and does not answer.
    process.kill(killed, 'SIGSTOP');
    const dead = await eventually('readiness to be denied', ready, ({ status }) => status === 503);
    expect(dead.checks.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['authority']);
    expect((await get(STATUS_PATHS.readyz)).headers.get('retry-after')).toMatch(/^\d+$/);
    // Alive all the same, and whoever is connected stays.
    expect((await get(STATUS_PATHS.healthz)).status).toBe(200);
    expect((await get(STATUS_PATHS.crl)).status).toBe(200);

    process.kill(killed, 'SIGKILL');
    await gateway.logged('authority process ready', {}, mark);
    expect(gateway.authorityPid).not.toBe(killed);
    await eventually('it to be ready again', ready, ({ status }) => status === 200);
    await enrollByHand(gateway, 'after-1');
  });

  test('while the authority is away a device is told to come back, and loses nothing', async () => {
    const { ticket } = await gateway.addDevice('patient-1');
    const key = makeKey();
    const ask = async () =>
      postCsr(gateway, 'simpleenroll', await makeCsr(key), { headers: basic('patient-1', ticket) });
    await gateway.killAuthority();
    const first = await ask();
    expect([200, 503]).toContain(first.status);
    if (first.status === 503) {
      expect(first.header('Retry-After')).toMatch(/^[1-9]\d*$/);
      expect(first.body).toMatch(/^AUTHORITY_UNAVAILABLE: /);
    }
    await eventually('the certificate', ask, ({ status }) => status === 200, { everyMs: 200 });
  });
});
