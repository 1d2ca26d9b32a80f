import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CsrTemplate } from '#ca/pkix/csr.ts';
import { boolean, octetString, oid, sequence, setOf, tlv } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { makeKey, makeRsaKey } from '#test/fixtures/ca/keys.ts';
import { type Credential, createAuthority, selfSigned } from '#test/fixtures/mqtt/authority.ts';
import {
  certificateIn,
  credentialOf,
  enrollByHand,
  makeCsr,
  makeRenewalCsr,
} from '#test/fixtures/processes/device-credential.ts';
import { askEst, basic, type EstAnswer, type EstQuestion, postCsr } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { useOnce } from '#test/fixtures/processes/persistent-device.ts';
import { residentBytes } from '#test/fixtures/processes/resident-bytes.ts';

const MIB = 2 ** 20;

describe('bad input at the EST door', () => {
  let gateway: GatewayProcess;
  let ticket: string;
  /** An ordinary CSR and the right headers for it: each test makes one thing wrong. */
  let csr: Buffer;
  let headers: Record<string, string>;
  /** Good for seconds: it ends while the other tests run. */
  let expired: Credential;
  let memoryBefore: number;
  beforeAll(async () => {
    gateway = await startGateway();
    await gateway.addGroup('brief', { lifetimeSeconds: 10, overlapSeconds: 1 });
    expired = await enrollByHand(gateway, 'expired-1', { group: 'brief' });
    ({ ticket } = await gateway.addDevice('good-1'));
    csr = await makeCsr(makeKey());
    headers = basic('good-1', ticket);
    memoryBefore = residentBytes(gateway.ready.pid);
  });
  afterAll(() => gateway?.dispose());

  /** Status and code, and words that a person can read: what is wrong, what to do, and the attempt's id. */
  function expectRefusal(answer: EstAnswer, status: number, code: string): void {
    expect([answer.status, answer.body.split(':')[0]]).toEqual([status, code]);
    expect(answer.header('Content-Type')).toMatch(/^text\/plain/);
    expect(answer.body).toMatch(/^[A-Z0-9_]+: \S[ -~]{10,} \(attempt a-[0-9a-f]{16}\)\n$/);
    expect(answer.body).not.toContain(ticket);
    expect(answer.body).not.toMatch(/\.ts:\d+|Error:|at \//);
  }

  function enroll(body: Buffer | string, options: Pick<EstQuestion, 'headers' | 'tls'> = {}): Promise<EstAnswer> {
    return postCsr(gateway, 'simpleenroll', body, { headers, ...options });
  }

  const guess = async () => (await enroll(csr, { headers: basic('guessing-1', 'y'.repeat(26)) })).status;

  function renew(body: Buffer, shown: Pick<Credential, 'chain' | 'keyPem'>): Promise<EstAnswer> {
    return postCsr(gateway, 'simplereenroll', body, { tls: { cert: shown.chain, key: shown.keyPem } });
  }

  test('a wrong ticket: 401', async () => {
    expectRefusal(await enroll(csr, { headers: basic('good-1', 'x'.repeat(26)) }), 401, 'TICKET_UNKNOWN');
    expectRefusal(await enroll(csr, { headers: basic('good-1', `${ticket}0`) }), 401, 'TICKET_UNKNOWN');
  });

  test('no ticket at all: 401 with a challenge', async () => {
    for (const wrong of [{}, basic('good-1', ''), { Authorization: 'Bearer abc' }, { Authorization: 'Basic %%%' }]) {
      const answer = await enroll(csr, { headers: wrong });
      expectRefusal(answer, 401, 'CREDENTIALS_MISSING');
      expect(answer.header('WWW-Authenticate')).toMatch(/^Basic /);
    }
  });

  test('a spent ticket: 403', async () => {
    const spent = await gateway.addDevice('spent-1');
    const key = makeKey();
    const used = basic('spent-1', spent.ticket);
    const first = await enroll(await makeCsr(key), { headers: used });
    await useOnce(gateway, 'spent-1', await credentialOf(gateway, certificateIn(first), key));
    // For the same key, too: the certificate arrived, it was used.
    expectRefusal(await enroll(await makeCsr(key), { headers: used }), 403, 'TICKET_SPENT');
    expectRefusal(await enroll(csr, { headers: used }), 403, 'TICKET_SPENT');
  });

  test('an expired ticket: 403', async () => {
    await gateway.addGroup('hasty', { ticketSeconds: 1 });
    const late = await gateway.addDevice('late-1', 'hasty');
    await delay(Math.max(0, late.expiresAt - Date.now() + 20));
    expectRefusal(await enroll(csr, { headers: basic('late-1', late.ticket) }), 403, 'TICKET_EXPIRED');
  });

  test('a revoked ticket: 403', async () => {
    const old = await gateway.addDevice('twice-1');
    await gateway.operator.call('addTicket', { params: ['twice-1'], body: {} });
    expectRefusal(await enroll(csr, { headers: basic('twice-1', old.ticket) }), 403, 'TICKET_REVOKED');
  });

  test('the ticket of another device: 403', async () => {
    await gateway.addDevice('other-1');
    expectRefusal(await enroll(csr, { headers: basic('other-1', ticket) }), 403, 'TICKET_OF_ANOTHER_DEVICE');
    expectRefusal(await enroll(csr, { headers: basic('__proto__', ticket) }), 403, 'TICKET_OF_ANOTHER_DEVICE');
  });

  test('a CSR signed by another key than the one in it: 400', async () => {
    const [own, foreign] = [makeKey(), makeKey()];
    const wrong = await makeCsr({ spki: own.spki, privateKey: foreign.privateKey });
    expectRefusal(await enroll(wrong), 400, 'CSR_SIGNATURE_INVALID');
    const tampered = Buffer.from(csr);
    tampered.writeUInt8((tampered.at(-1) ?? 0) ^ 1, tampered.length - 1);
    expectRefusal(await enroll(tampered), 400, 'CSR_SIGNATURE_INVALID');
  });

  test('what is not base64: 400', async () => {
    for (const body of ['%%%', 'MIIB', 'a'.repeat(65), '', ' \n', 'MAA', '{"csr":"MAA="}', 'MAA=\0']) {
      const answer = await enroll(body);
      expect([400], body).toContain(answer.status);
      expect(answer.body).toMatch(/^(BODY_NOT_BASE64|CSR_MALFORMED): /);
    }
  });

  test('PEM instead of DER: 400, and the text says that this is what it is', async () => {
    const answer = await enroll(formatPem('CERTIFICATE REQUEST', csr));
    expectRefusal(answer, 400, 'BODY_NOT_BASE64');
    expect(answer.body).toContain('PEM');
  });

  test('raw DER instead of base64: 400', async () => {
    const answer = await askEst(gateway, {
      method: 'POST',
      path: 'simpleenroll',
      headers: { ...headers, 'Content-Type': 'application/pkcs10' },
      body: csr,
    });
    expectRefusal(answer, 400, 'BODY_NOT_BASE64');
  });

  test('base64 of something else than a PKCS#10 request: 400', async () => {
    const truncated = csr.subarray(0, csr.length - 20);
    const trailing = Buffer.concat([csr, Buffer.from('00', 'hex')]);
    const deep = Buffer.from('3080'.repeat(2000), 'hex');
    const huge = Buffer.from('3084ffffffff', 'hex');
    for (const der of [Buffer.from('not DER'), truncated, trailing, deep, huge, Buffer.from('3000', 'hex')]) {
      expectRefusal(await enroll(der), 400, 'CSR_MALFORMED');
    }
  });

  test('a body of 2 MB: 413, and it is not kept', async () => {
    expectRefusal(await enroll('A'.repeat(2 * MIB)), 413, 'BODY_TOO_LARGE');
  });

  test('another content type: 415', async () => {
    const wrong = { ...headers, 'Content-Type': 'application/json' };
    expectRefusal(await enroll(csr, { headers: wrong }), 415, 'CONTENT_TYPE_UNSUPPORTED');
  });

  test('keys that nobody certifies: 400, with what is allowed', async () => {
    const answer = await enroll(await makeCsr(makeRsaKey(1024)));
    expectRefusal(answer, 400, 'KEY_NOT_ALLOWED');
    expect(answer.body).toContain('RSA 1024');
    expect(answer.body).toContain('ec-p256');
    expectRefusal(await enroll(await makeCsr(makeRsaKey(2048, 3))), 400, 'KEY_NOT_ALLOWED');
  });

  test('a key kind that the group does not allow: 400', async () => {
    await gateway.addGroup('curves', { keys: ['ec-p256'] });
    const curve = await gateway.addDevice('curve-1', 'curves');
    const answer = await enroll(await makeCsr(makeKey('ed25519')), { headers: basic('curve-1', curve.ticket) });
    expectRefusal(answer, 400, 'KEY_NOT_ALLOWED');
  });

  test('a CSR that asks for CA rights: 400', async () => {
    const ca = formatExtension(OID.basicConstraints, true, sequence(boolean(true)));
    const signs = formatExtension(OID.keyUsage, true, Buffer.from('03020204', 'hex'));
    for (const extension of [ca, signs]) {
      expectRefusal(await enroll(await makeCsr(makeKey(), withExtensions(extension))), 400, 'CSR_ASKS_FOR_CA');
    }
  });

  test("a CSR that bears another's name: 403", async () => {
    expectRefusal(await enroll(await makeCsr(makeKey(), { commonName: 'good-2' })), 403, 'CSR_NAMES_ANOTHER');
    const uri = tlv(0x86, Buffer.from('spiffe://gatehouse.internal/device/good-2'));
    const other = await makeCsr(makeKey(), { subjectAltName: sequence(uri) });
    expectRefusal(await enroll(other), 403, 'CSR_NAMES_ANOTHER');
    const change = sequence(oid(OID.changeSubjectName), setOf(sequence(formatName({ commonName: 'good-2' }))));
    expectRefusal(await enroll(await makeCsr(makeKey(), { attributes: [change] })), 403, 'CSR_NAMES_ANOTHER');
  });

  test('a CSR with broken extensions: 400', async () => {
    const twice = formatExtension(OID.basicConstraints, true, sequence());
    const broken = formatExtension(OID.basicConstraints, true, octetString(Buffer.from('x')));
    expectRefusal(await enroll(await makeCsr(makeKey(), withExtensions(twice, twice))), 400, 'CSR_MALFORMED');
    expectRefusal(await enroll(await makeCsr(makeKey(), withExtensions(broken))), 400, 'CSR_MALFORMED');
  });

  describe('at a renewal', () => {
    let current: Credential;
    beforeAll(async () => {
      current = await enrollByHand(gateway, 'current-1');
    });

    test('no certificate: 401', async () => {
      const answer = await postCsr(gateway, 'simplereenroll', await makeRenewalCsr(makeKey(), current));
      expectRefusal(answer, 401, 'CREDENTIALS_MISSING');
    });

    test('another subject, another name, or no name: 403', async () => {
      const subject = formatName({ commonName: 'current-2' });
      expectRefusal(await renew(await makeCsr(makeKey(), { subject }), current), 403, 'IDENTITY_MISMATCH');
      const nameless = await makeCsr(makeKey(), { commonName: 'current-1' });
      expectRefusal(await renew(nameless, current), 403, 'IDENTITY_MISMATCH');
      const other = await enrollByHand(gateway, 'current-3');
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), other), current), 403, 'IDENTITY_MISMATCH');
    });

    test.each([
      ['another subject', sequence(formatName({ commonName: 'current-2' }))],
      ['no name at all', sequence()],
    ])('a change of its name to %s, which a CSR cannot ask for here: 403', async (_what, change) => {
      const attributes = [sequence(oid(OID.changeSubjectName), setOf(change))];
      const csr = await makeRenewalCsr(makeKey(), current, { attributes });
      expectRefusal(await renew(csr, current), 403, 'CSR_NAMES_ANOTHER');
    });

    test('a self-signed certificate that bears the serial of a real one: 403', async () => {
      const forged = await selfSigned('current-1', current.serial);
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), current), forged), 403, 'CERTIFICATE_UNKNOWN');
    });

    test('a certificate of another authority with the serial of a real one: 403', async () => {
      const forged = await (await createAuthority('Elsewhere')).issue('current-1', { serial: current.serial });
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), current), forged), 403, 'CERTIFICATE_UNKNOWN');
    });

    test("the gateway's own certificate: 403", async () => {
      const own = {
        chain: await readFile(`${gateway.dataDir}/gateway/server.pem`, 'utf8'),
        keyPem: await readFile(`${gateway.dataDir}/gateway/server.key.pem`, 'utf8'),
      };
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), current), own), 403, 'PROFILE_NOT_A_DEVICE');
    });

    test('a revoked certificate: 403', async () => {
      const revoked = await enrollByHand(gateway, 'revoked-1');
      await gateway.operator.call('revokeDevice', { params: ['revoked-1'], body: { reason: 'keyCompromise' } });
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), revoked), revoked), 403, 'CERTIFICATE_REVOKED');
    });

    test('an expired certificate: 403', async () => {
      await delay(Math.max(0, expired.notAfter + 1_050 - Date.now()));
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), expired), expired), 403, 'CERTIFICATE_EXPIRED');
    });

    test('a group that allows its key no more: 400, policy is looked at again', async () => {
      await gateway.addGroup('changing', { keys: ['ec-p256', 'ec-p384'] });
      const changed = await enrollByHand(gateway, 'changed-1', { group: 'changing' });
      const body = { keys: ['ec-p384'] };
      await gateway.operator.call('setGroup', { params: ['changing'], body });
      expectRefusal(await renew(await makeRenewalCsr(makeKey(), changed), changed), 400, 'KEY_NOT_ALLOWED');
    });

    test('a loop of new keys: 429 with Retry-After, before it fills the database', async () => {
      const looping = await enrollByHand(gateway, 'looping-1');
      let last: EstAnswer | undefined;
      for (let turn = 0; turn < 8 && (last === undefined || last.status === 200); turn += 1) {
        last = await renew(await makeRenewalCsr(makeKey(), looping), looping);
      }
      if (last === undefined) throw new Error('nothing was asked');
      expectRefusal(last, 429, 'RATE_LIMITED');
      expect(last.header('Retry-After')).toMatch(/^[1-9]\d*$/);
    });
  });

  test('every refusal stands in the log with its attempt, and none with a ticket', async () => {
    const mark = gateway.mark();
    const answer = await enroll(csr, { headers: basic('other-1', ticket) });
    const attemptId = answer.header('Gatehouse-Attempt');
    await gateway.logged('enrollment refused', { attemptId, code: 'TICKET_OF_ANOTHER_DEVICE' }, mark);
    expect(gateway.process.log.some(({ text }) => text.includes(ticket))).toBe(false);
    expect(gateway.process.log.filter(({ fields }) => fields['level'] === 'error')).toEqual([]);
  });

  test('who goes on failing is slowed down, and nobody else', async () => {
    // Many at once, so that a slow machine does not make them so slow that they are forgiven in between.
    const rounds: number[][] = [];
    for (let round = 0; round < 5; round += 1) rounds.push(await Promise.all(Array.from({ length: 20 }, guess)));
    expect(new Set(rounds.flat())).toEqual(new Set([401, 429]));
    expect(rounds[0]).toContain(401);
    expect(rounds.at(-1)?.filter((status) => status === 429).length).toBeGreaterThan(10);
  });

  test('after all of it the same process enrolls the device whose ticket was misused, in bounded memory', async () => {
    expect((await enroll(csr)).status).toBe(200);
    expect(() => process.kill(gateway.ready.pid, 0)).not.toThrow();
    expect(gateway.process.hasEnded).toBe(false);
    expect(residentBytes(gateway.ready.pid) - memoryBefore).toBeLessThan(128 * MIB);
  });
});

/** A CSR with an extensionRequest attribute that holds these (RFC 2985 5.4.2). */
function withExtensions(...extensions: Buffer[]): Partial<CsrTemplate> {
  return { attributes: [sequence(oid(OID.extensionRequest), setOf(sequence(...extensions)))] };
}
