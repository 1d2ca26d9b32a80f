import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { readProofLevel } from '#ca/pkix/proof-level.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import {
  MAX_TPM_CHALLENGE_BYTES,
  NONCE_PATH,
  TPM_CHALLENGE_PATH,
  type TpmChallengeAnswer,
} from '#gateway/contract/attestation.ts';
import { listAttempts } from '#gateway/operations/show-attempts.ts';
import type { SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import type { SimulatedDeviceKey, SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import {
  type Answer,
  type AttestationDoor,
  basicOf,
  type Line,
  openAttestationDoor,
} from '#test/fixtures/gateway/attestation-door.ts';
import { attestedCsr, certify, tpmOf, trustedMaker } from '#test/fixtures/gateway/attested-enrollment.ts';
import { changePolicy, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: SimulatedMaker;
let tpm: SimulatedTpm;
let door: AttestationDoor;
let credentials: { deviceId: string; ticket: string };
let line: Line;
beforeEach(async () => {
  world = await openWorld();
  maker = await trustedMaker(world);
  tpm = tpmOf(maker);
  door = await openAttestationDoor(world);
  credentials = { deviceId: 'press-07', ticket: await register(world, 'press-07') };
  line = door.connect({ basic: basicOf(credentials) });
});
afterEach(async () => {
  await door.close();
  await world.close();
});

const JSON_TYPE = { 'content-type': 'application/json' };

function shownOf(some: SimulatedTpm): object {
  return {
    version: 1,
    ekCertificate: some.ekCertificate.toString('base64'),
    akPublic: some.ak.publicArea.toString('base64'),
  };
}

function open(some: SimulatedTpm, { credentialBlob, encryptedSecret }: TpmChallengeAnswer): Buffer {
  return some.activateCredential(Buffer.from(credentialBlob, 'base64'), Buffer.from(encryptedSecret, 'base64'));
}

function askForNonce(body?: string): Promise<Answer> {
  return line.ask(NONCE_PATH, body === undefined ? {} : { body, headers: JSON_TYPE });
}

async function enrollOver(some: SimulatedTpm, over: Line): Promise<{ certificate: Buffer; key: SimulatedDeviceKey }> {
  const secret = open(some, await over.challenge(shownOf(some)));
  const key = some.createDeviceKey();
  return { certificate: await over.enroll(await attestedCsr(key, certify(some, key, secret))), key };
}

describe('an attested enrollment over HTTPS', () => {
  it.each<EndorsementKind>(['rsa-2048', 'ec-p256', 'ec-p384'])('ends in a certificate for %s', async (kind) => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    const { certificate } = await enrollOver(tpmOf(maker, kind), line);
    expect(readProofLevel(parseCertificate(certificate))).toBe('tpm-endorsed');
  });

  it('answers a challenge with its id and end, and keeps it out of caches', async () => {
    const answer = await line.ask(TPM_CHALLENGE_PATH, { headers: JSON_TYPE, body: JSON.stringify(shownOf(tpm)) });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({ 'content-type': 'application/json', 'cache-control': 'no-store' });
    expect(answer.headers['gatehouse-attempt']).toMatch(/^a-[0-9a-f]{16}$/);
    expect(JSON.parse(answer.body)).toMatchObject({
      version: 1,
      challengeId: expect.stringMatching(/^c-/),
      expiresIn: 300,
    });
  });

  it('renews with the current certificate in both round trips', async () => {
    const { certificate, key } = await enrollOver(tpm, line);
    const renewing = door.connect({ certificate, key });
    const secret = open(tpm, await renewing.challenge(shownOf(tpm)));
    const next = tpm.createDeviceKey();
    const csr = await attestedCsr(next, certify(tpm, next, secret), certificate);
    const renewed = await renewing.enroll(csr, 'simplereenroll');
    expect(readProofLevel(parseCertificate(renewed))).toBe('tpm-endorsed');
  });

  it('renews with a nonce of the same connection', async () => {
    const { certificate, key } = await enrollOver(tpm, line);
    const renewing = door.connect({ certificate, key });
    const next = tpm.createDeviceKey();
    const csr = await attestedCsr(next, certify(tpm, next, await renewing.nonce()), certificate);
    expect(readProofLevel(parseCertificate(await renewing.enroll(csr, 'simplereenroll')))).toBe('tpm-endorsed');
  });
});

describe('a nonce', () => {
  it('counts on the connection that asked for it only, and once', async () => {
    const { certificate, key } = await enrollOver(tpm, line);
    const [one, other] = [door.connect({ certificate, key }), door.connect({ certificate, key })];
    const nonce = await one.nonce();
    await other.nonce();
    const csrOf = async (next: SimulatedDeviceKey) => attestedCsr(next, certify(tpm, next, nonce), certificate);
    const first = await csrOf(tpm.createDeviceKey());
    await expect(other.enroll(first, 'simplereenroll')).rejects.toThrow('ATTESTATION_CHALLENGE_UNKNOWN');
    await one.enroll(first, 'simplereenroll');
    const second = await csrOf(tpm.createDeviceKey());
    await expect(one.enroll(second, 'simplereenroll')).rejects.toThrow('ATTESTATION_CHALLENGE_UNKNOWN');
  });

  it('is used up by a CSR that is refused', async () => {
    const { certificate, key } = await enrollOver(tpm, line);
    const renewing = door.connect({ certificate, key });
    const nonce = await renewing.nonce();
    await expect(renewing.enroll(Buffer.from('no csr'), 'simplereenroll')).rejects.toThrow('CSR_MALFORMED');
    const next = tpm.createDeviceKey();
    const csr = await attestedCsr(next, certify(tpm, next, nonce), certificate);
    await expect(renewing.enroll(csr, 'simplereenroll')).rejects.toThrow('ATTESTATION_CHALLENGE_UNKNOWN');
  });

  it('comes in the length asked for, without padding, never the same', async () => {
    const answers = await Promise.all([undefined, '', '{}', '{"len":8}', '{"len":64}'].map(askForNonce));
    for (const { status, headers } of answers) {
      expect(status).toBe(200);
      expect(headers['content-type']).toBe('application/est-attestation-freshness+json');
    }
    const nonces = answers.map(({ body }) => JSON.parse(body) as { nonce: string; expiry: number });
    expect(nonces.map(({ nonce }) => Buffer.from(nonce, 'base64url').length)).toEqual([32, 32, 32, 8, 64]);
    expect(nonces.every(({ nonce }) => /^[\w-]{11,86}$/.test(nonce))).toBe(true);
    expect(new Set(nonces.map(({ nonce }) => nonce)).size).toBe(5);
  });

  it.each(['{"len":7}', '{"len":65}', '{"len":"32"}', '[]', 'len=32'])('is refused for %s', async (body) => {
    const { status, body: text } = await line.ask(NONCE_PATH, { body, headers: JSON_TYPE });
    expect(status).toBe(400);
    expect(text).toMatch(/^REQUEST_INVALID: /);
  });
});

describe('evidence that is sent again', () => {
  it('over another connection gets the same certificate, and nothing for another device, ticket or key', async () => {
    const secret = open(tpm, await line.challenge(shownOf(tpm)));
    const [key, second] = [tpm.createDeviceKey(), tpm.createDeviceKey()];
    const csr = await attestedCsr(key, certify(tpm, key, secret));
    const neighbour = { deviceId: 'press-08', ticket: await register(world, 'press-08') };
    const other = door.connect({ basic: basicOf(neighbour) });
    await expect(other.enroll(csr)).rejects.toThrow('ATTESTATION_CHALLENGE_UNKNOWN');
    const certificate = await line.enroll(csr);
    const again = door.connect({ basic: basicOf(credentials) });
    expect(await again.enroll(csr)).toEqual(certificate);
    await expect(other.enroll(csr)).rejects.toThrow('ATTESTATION_CHALLENGE_UNKNOWN');
    const replayed = await attestedCsr(second, certify(tpm, second, secret));
    await expect(again.enroll(replayed)).rejects.toThrow('ATTESTATION_CHALLENGE_USED');
    // In the device's own name, which has another challenge open at the time.
    const renewing = door.connect({ certificate, key });
    await renewing.challenge(shownOf(tpm));
    const renewal = await attestedCsr(second, certify(tpm, second, secret), certificate);
    await expect(renewing.enroll(renewal, 'simplereenroll')).rejects.toThrow('ATTESTATION_CHALLENGE_OF_ANOTHER');
  });
});

describe('the challenge path refuses', () => {
  it.each<[string, number, string, () => { headers?: Record<string, string>; body?: string; method?: string }]>([
    ['what is not JSON', 400, 'REQUEST_INVALID', () => ({ headers: JSON_TYPE, body: 'ek=1' })],
    ['another version', 400, 'REQUEST_INVALID', () => ({ headers: JSON_TYPE, body: '{"version":2}' })],
    [
      'fields that are not base64',
      400,
      'REQUEST_INVALID',
      () => ({ headers: JSON_TYPE, body: JSON.stringify({ ...shownOf(tpm), akPublic: '%%' }) }),
    ],
    [
      'a body of another kind',
      415,
      'CONTENT_TYPE_UNSUPPORTED',
      () => ({ headers: { 'content-type': 'application/pkcs10' }, body: 'AAAA' }),
    ],
    [
      'a body that is too large',
      413,
      'BODY_TOO_LARGE',
      () => ({ headers: JSON_TYPE, body: ' '.repeat(MAX_TPM_CHALLENGE_BYTES + 1) }),
    ],
    ['another method', 405, 'REQUEST_INVALID', () => ({ method: 'PUT', headers: JSON_TYPE, body: '{}' })],
  ])('%s with %i %s', async (_, status, code, ask) => {
    const answer = await line.ask(TPM_CHALLENGE_PATH, ask());
    expect(answer.status).toBe(status);
    expect(answer.body).toMatch(new RegExp(`^${code}: .+\\(attempt a-[0-9a-f]{16}\\)\\n$`));
  });

  it('whoever shows neither ticket nor certificate, and tells how to', async () => {
    const stranger = door.connect({});
    const answer = await stranger.ask(TPM_CHALLENGE_PATH, { headers: JSON_TYPE, body: JSON.stringify(shownOf(tpm)) });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Basic realm="gatehouse"');
  });

  it('an endorsement key of another device with 409, and says so to the device in readable text', async () => {
    await enrollOver(tpm, line);
    const second = { deviceId: 'press-08', ticket: await register(world, 'press-08') };
    await expect(door.connect({ basic: basicOf(second) }).challenge(shownOf(tpm))).rejects.toThrow(
      /^409 EK_BELONGS_TO_ANOTHER: the endorsement key of this TPM belongs to another device\. [^"]*$/,
    );
    // Which one is for the operator.
    const { items } = await listAttempts(world, { limit: 1 });
    expect(items).toMatchObject([{ deviceId: 'press-08', detail: expect.stringContaining('belongs to "press-07"') }]);
  });

  it('a software key of a group that requires a TPM at the enrollment with 403', async () => {
    await changePolicy(world, { proof: 'tpm' });
    const csr = await attestedCsr(tpm.createDeviceKey(), undefined);
    await expect(line.enroll(csr)).rejects.toThrow(/^403 ATTESTATION_REQUIRED: /);
  });
});
