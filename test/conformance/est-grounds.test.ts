import { createPrivateKey, X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCertsOnly } from '#ca/pkix/cms.ts';
import { readCsrWishes } from '#ca/pkix/csr-attributes.ts';
import { oid, printableString, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatPem } from '#ca/pkix/pem.ts';
import { wantedKeyOf } from '#ca/pkix/wanted-key.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import { parseEstBody } from '#gateway/contract/est.ts';
import type { AttemptDetail, EnrollmentRequestSummary, Page, RegistrarAdded } from '#gateway/contract/operator-api.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';
import { createTestMaker, type TestIdentity, type TestMaker } from '#test/fixtures/doors/certificates.ts';
import { certificateIn, makeCsr } from '#test/fixtures/processes/device-credential.ts';
import { askEst, basic, type EstAnswer, type EstQuestion } from '#test/fixtures/processes/est-exchange.ts';
import { type GatewayProcess, startGateway } from '#test/fixtures/processes/gateway-process.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { run } from '#test/fixtures/processes/program.ts';

function shown(identity: Pick<TestIdentity, 'pem' | 'keyPem'>, maxVersion: 'TLSv1.2' | 'TLSv1.3' = 'TLSv1.3') {
  return { cert: identity.pem, key: identity.keyPem, maxVersion };
}

describe('who may enroll over EST', () => {
  let gateway: GatewayProcess;
  let maker: TestMaker;
  beforeAll(async () => {
    maker = await createTestMaker('Acme');
    gateway = await startGateway();
    await gateway.addGroup('sensors', { approval: 'auto', keys: ['ec-p384', 'rsa-3072'] });
    await gateway.addGroup('watched', { approval: 'manual' });
    await gateway.addGroup('bound', { binding: 'required' });
    await gateway.addGroup('weak', { serverKeygen: true });
    for (const group of ['sensors', 'watched']) {
      const body = { certificate: maker.root.der.toString('base64') };
      await gateway.operator.call('addManufacturerCa', { params: [group], body });
    }
  });
  afterAll(() => gateway?.dispose());

  function enroll(path: string, csr: Buffer, rest: Pick<EstQuestion, 'headers' | 'tls'> = {}): Promise<EstAnswer> {
    return askEst(gateway, {
      ...rest,
      method: 'POST',
      path,
      headers: { 'Content-Type': 'application/pkcs10', ...rest.headers },
      body: csr.toString('base64'),
    });
  }

  describe("a maker's certificate without an end", () => {
    test.each(['TLSv1.2', 'TLSv1.3'] as const)('registers and enrolls its device over %s', async (version) => {
      const identity = await maker.issueIdentity(`SN-${version}`);
      const csr = await makeCsr(makeKey('ec-p384'));
      const answer = await enroll('sensors/simpleenroll', csr, { tls: shown(identity, version) });
      expect([answer.status, answer.body.split(':')[0]]).toEqual([200, answer.body]);
      const certificate = parseCertificate(certificateIn(answer));
      expect(certificate.uris).toEqual([`spiffe://gatehouse.internal/device/SN-${version}`]);
      expect(await gateway.device(`SN-${version}`)).toMatchObject({
        group: 'sensors',
        hardwareSerial: `SN-${version}`,
      });
    });

    test('needs a label where two groups trust its maker, or a ticket', async () => {
      const identity = await maker.issueIdentity('SN-which');
      const answer = await enroll('simpleenroll', await makeCsr(makeKey('ec-p384')), { tls: shown(identity) });
      expect([answer.status, answer.body.split(':')[0]]).toEqual([403, 'GROUP_AMBIGUOUS']);
    });

    test('does not do for another group, nor that of another maker, nor its CA, nor for a key the group forbids', async () => {
      const identity = await maker.issueIdentity('SN-other');
      const stranger = await (await createTestMaker('Umbrella')).issueIdentity('SN-other');
      const good = await makeCsr(makeKey('ec-p384'));
      const ask = async (path: string, one: Pick<TestIdentity, 'pem' | 'keyPem'>, csr = good) => {
        const answer = await enroll(`${path}/simpleenroll`, csr, { tls: shown(one) });
        return `${answer.status} ${answer.body.split(':')[0]}`;
      };
      expect(await ask('default', identity)).toBe('401 MANUFACTURER_UNTRUSTED');
      expect(await ask('sensors', stranger)).toBe('401 MANUFACTURER_UNTRUSTED');
      expect(await ask('sensors', maker.intermediate)).toBe('403 MANUFACTURER_CERTIFICATE_UNFIT');
      expect(await ask('sensors', identity, await makeCsr(makeKey()))).toBe('400 KEY_NOT_ALLOWED');
      expect(await ask('nobody', identity)).toBe('404 LABEL_UNKNOWN');
    });

    test('of a maker that is trusted no more enrolls nobody from that moment on', async () => {
      const other = await createTestMaker('Shortlived');
      const body = { certificate: other.root.der.toString('base64') };
      const { sha256 } = await gateway.operator.call<{ sha256: string }>('addManufacturerCa', {
        params: ['sensors'],
        body,
      });
      const ask = async (serial: string) => {
        const csr = await makeCsr(makeKey('ec-p384'));
        return enroll('sensors/simpleenroll', csr, { tls: shown(await other.issueIdentity(serial)) });
      };
      expect((await ask('SH-1')).status).toBe(200);
      await gateway.operator.call('removeManufacturerCa', { params: ['sensors', sha256] });
      expect((await ask('SH-2')).status).toBe(401);
    });
  });

  test('a person decides: 202 with Retry-After, then the certificate, or the reason (RFC 7030 4.2.3)', async () => {
    const identity = await maker.issueIdentity('SN-asked');
    const key = makeKey();
    const ask = async () => enroll('watched/simpleenroll', await makeCsr(key), { tls: shown(identity) });
    const first = await ask();
    expect([first.status, first.body.split(':')[0]]).toEqual([202, 'APPROVAL_PENDING']);
    expect(first.header('Retry-After')).toMatch(/^[1-9]\d*$/);
    expect(first.header('Content-Type')).toMatch(/^text\/plain/);
    expect((await ask()).status).toBe(202);
    const { items } = await gateway.operator.call<Page<EnrollmentRequestSummary>>('listEnrollmentRequests', {});
    const waiting = items.filter(({ deviceId }) => deviceId === 'SN-asked');
    expect(waiting).toMatchObject([{ state: 'waiting', group: 'watched', door: 'est' }]);
    await gateway.operator.call('approveEnrollment', { params: [waiting[0]?.id ?? ''], body: {} });
    const granted = await ask();
    expect(parseCertificate(certificateIn(granted)).uris).toEqual(['spiffe://gatehouse.internal/device/SN-asked']);

    const refusedIdentity = await maker.issueIdentity('SN-refused');
    const askRefused = async () =>
      enroll('watched/simpleenroll', await makeCsr(makeKey()), { tls: shown(refusedIdentity) });
    const attemptId = (await askRefused()).header('Gatehouse-Attempt') ?? '';
    await gateway.operator.call('refuseEnrollment', { params: [attemptId], body: { reason: 'not ours' } });
    const attempt = await gateway.operator.call<AttemptDetail>('showAttempt', { params: [attemptId] });
    expect(attempt).toMatchObject({ outcome: 'pending', code: 'APPROVAL_PENDING', door: 'est' });
  });

  test('a registrar enrolls devices of its groups, and passes on what they bound to their own session', async () => {
    const key = makeKey();
    const body = { name: 'line-4', groups: ['default'], csr: (await makeCsr(key)).toString('base64') };
    const registrar = await gateway.operator.call<RegistrarAdded>('addRegistrar', { body });
    const keyPem = key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const tls = shown({ pem: registrar.certificate, keyPem });
    await gateway.addDevice('passed-1');
    const bound = sequence(oid(OID.challengePassword), setOf(printableString(Buffer.alloc(32).toString('base64'))));
    const csr = await makeCsr(makeKey(), { commonName: 'passed-1', attributes: [bound] });
    const answer = await enroll('simpleenroll', csr, { tls });
    expect([answer.status, answer.body.split(':')[0]]).toEqual([200, answer.body]);
    const other = await enroll('sensors/simpleenroll', await makeCsr(makeKey('ec-p384'), { commonName: 'x-1' }), {
      tls,
    });
    expect(other.status).toBe(403);
    await gateway.operator.call('removeRegistrar', { params: ['line-4'] });
    expect((await enroll('simpleenroll', csr, { tls })).status).toBe(403);
  });

  test('a group that wants bound CSRs says so in csrattrs, and refuses others', async () => {
    const attributes = parseEstBody((await askEst(gateway, { path: 'bound/csrattrs' })).body) ?? Buffer.alloc(0);
    expect(readCsrWishes(attributes).wantsBinding).toBe(true);
    const { ticket } = await gateway.addDevice('loose-1', 'bound');
    const answer = await enroll('simpleenroll', await makeCsr(makeKey()), { headers: basic('loose-1', ticket) });
    expect([answer.status, answer.body.split(':')[0]]).toEqual([403, 'CSR_BINDING_REQUIRED']);
  });

  test('csrattrs name the key that the group of the label allows', async () => {
    const attributes = parseEstBody((await askEst(gateway, { path: 'sensors/csrattrs' })).body) ?? Buffer.alloc(0);
    expect(readCsrWishes(attributes)).toMatchObject({ wantsBinding: false, key: wantedKeyOf('ec-p384') });
  });

  test('serverkeygen gives key and certificate where the group says so, and is 404 elsewhere', async () => {
    const { ticket } = await gateway.addDevice('weak-1', 'weak');
    const csr = await makeCsr(makeKey());
    const answer = await enroll('serverkeygen', csr, { headers: basic('weak-1', ticket) });
    expect([answer.status, answer.body.split(':')[0]?.slice(0, 2)]).toEqual([200, '--']);
    const [key = '', certificate = ''] = [...answer.body.matchAll(/\r\n\r\n([^-]+?)\r\n--/g)].map(([, part]) => part);
    const [der] = parseCertsOnly(parseEstBody(certificate) ?? Buffer.alloc(0));
    const pkcs8 = createPrivateKey({ key: parseEstBody(key) ?? Buffer.alloc(0), format: 'der', type: 'pkcs8' });
    expect(new X509Certificate(der ?? '').checkPrivateKey(pkcs8)).toBe(true);
    expect(parseCertificate(der ?? Buffer.alloc(0)).uris).toEqual(['spiffe://gatehouse.internal/device/weak-1']);

    const strong = await gateway.addDevice('strong-1');
    const off = await enroll('serverkeygen', csr, { headers: basic('strong-1', strong.ticket) });
    expect([off.status, off.body.split(':')[0]]).toEqual([404, 'SERVER_KEYGEN_OFF']);
    expect((await enroll('serverkeygen', csr)).status).toBe(404);
  });

  test.skipIf(lacks('pki'))("strongSwan's pki has a maker's certificate turned into one of ours", async () => {
    const identity = await maker.issueIdentity('SN-swan');
    // It sends its own certificate and none above it: the CA that issued it has to be trusted itself.
    const issuing = { certificate: maker.intermediate.der.toString('base64') };
    await gateway.operator.call('addManufacturerCa', { params: ['watched'], body: issuing });
    await gateway.operator.call('addDevice', {
      body: { deviceId: 'swan-1', group: 'watched', hardwareSerial: 'SN-swan' },
    });
    const file = (name: string) => join(gateway.folder, name);
    await writeFile(file('maker.crt'), identity.der);
    await writeFile(file('maker.key'), identity.keyPem);
    const key = makeKey();
    const csr = await makeCsr(key, { commonName: 'swan-1' });
    await writeFile(file('swan.csr'), formatPem('CERTIFICATE REQUEST', csr));
    const intermediate = join(gateway.dataDir, DATA_FOLDER.intermediateCertificate);
    const args = ['--est', '--url', gateway.ready.est.url, '--in', file('swan.csr')];
    const trust = ['--cacert', gateway.ready.rootPem, '--cacert', intermediate];
    const mine = ['--cert', file('maker.crt'), '--key', file('maker.key'), '--outform', 'pem'];
    // Asked with another client, which does not sleep as long as Retry-After says.
    const waiting = await enroll('simplereenroll', csr, { tls: shown(identity) });
    expect(waiting.status).toBe(202);
    const requestId = waiting.header('Gatehouse-Attempt') ?? '';
    await gateway.operator.call('approveEnrollment', { params: [requestId], body: {} });
    const { stdout, stderr } = await run('pki', [...args, ...trust, ...mine]);
    expect(stdout, stderr).toContain('-----BEGIN');
    const own = new X509Certificate(stdout.slice(stdout.indexOf('-----BEGIN')));
    expect(own.subjectAltName).toBe('URI:spiffe://gatehouse.internal/device/swan-1');
    expect(own.checkPrivateKey(key.privateKey)).toBe(true);
  });
});
