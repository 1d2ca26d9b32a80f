import * as asn1js from 'asn1js';
import * as pkijs from 'pkijs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { oid, sequence } from '#ca/pkix/der.ts';
import { formatExtension } from '#ca/pkix/extensions.ts';
import { OID } from '#ca/pkix/oids.ts';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { createOcspSigner } from '#gateway/runtime/file-ocsp-signer.ts';
import { newSerial } from '#test/fixtures/ca/authority.ts';
import { type Made, makeCertificate, makeIntermediate, makeRoot } from '#test/fixtures/ca/certificates.ts';
import { DAY, openStatusWorld, type StatusWorld } from '#test/fixtures/gateway/status-world.ts';

let world: StatusWorld;

beforeEach(async () => {
  world = await openStatusWorld();
  await world.openResponder();
});
afterEach(() => world.close());

type Wish = { hash?: 'SHA-1' | 'SHA-256'; nonce?: Buffer; issuer?: Buffer };

/** As pkijs asks. */
async function ask(serials: readonly string[], wish: Wish = {}): Promise<Buffer> {
  const issuerCertificate = pkijs.Certificate.fromBER(wish.issuer ?? world.intermediate.certificate.der);
  const request = new pkijs.OCSPRequest();
  for (const serial of serials) {
    const certId = new pkijs.CertID();
    const hashAlgorithm = wish.hash ?? 'SHA-1';
    await certId.createForCertificate(issuerCertificate, { hashAlgorithm, issuerCertificate });
    certId.serialNumber = new asn1js.Integer({ valueHex: Uint8Array.from(Buffer.from(serial, 'hex')) });
    request.tbsRequest.requestList.push(new pkijs.Request({ reqCert: certId }));
  }
  if (wish.nonce !== undefined) {
    const extnValue = Buffer.concat([Buffer.of(4, wish.nonce.length), wish.nonce]);
    request.tbsRequest.requestExtensions = [
      new pkijs.Extension({ extnID: '1.3.6.1.5.5.7.48.1.2', extnValue: new Uint8Array(extnValue).buffer }),
    ];
  }
  return Buffer.from(request.toSchema(true).toBER());
}

/** As pkijs reads the answer: verified against the issuer. */
async function read(der: Buffer, issuer: Buffer = world.intermediate.certificate.der) {
  const response = pkijs.OCSPResponse.fromBER(der);
  const status = response.responseStatus.valueBlock.valueDec;
  const bytes = response.responseBytes?.response.valueBlock.valueHexView;
  if (bytes === undefined) return { status, singles: [], nonce: undefined, isSigned: false };
  const basic = pkijs.BasicOCSPResponse.fromBER(new Uint8Array(bytes));
  const isSigned = await basic.verify({
    trustedCerts: [pkijs.Certificate.fromBER(issuer)],
  });
  const singles = basic.tbsResponseData.responses.map(({ certStatus, thisUpdate, nextUpdate }) => ({
    kind: ['good', 'revoked', 'unknown'][certStatus.idBlock.tagNumber],
    thisUpdate: thisUpdate.getTime(),
    nextUpdate: nextUpdate?.getTime(),
  }));
  const nonce = basic.tbsResponseData.responseExtensions?.find(({ extnID }) => extnID === '1.3.6.1.5.5.7.48.1.2');
  return { status, singles, nonce: nonce && Buffer.from(nonce.extnValue.valueBlock.valueHexView), isSigned };
}

async function statusOf(serial: string, wish: Wish = {}): Promise<string | undefined> {
  const { der } = await world.responder.answer(await ask([serial], wish));
  const { singles, isSigned } = await read(der);
  expect(isSigned).toBe(true);
  return singles[0]?.kind;
}

describe('the OCSP responder', () => {
  it.each(['SHA-1', 'SHA-256'] as const)('says good, revoked and unknown to a request with %s', async (hash) => {
    const { serial } = await world.issue();
    expect(await statusOf(serial, { hash })).toBe('good');
    await world.revoke(serial);
    expect(await statusOf(serial, { hash })).toBe('revoked');
    expect(await statusOf(newSerial(), { hash })).toBe('unknown');
  });

  it('gives nobody an answer that it has kept from a clock that was ahead', async () => {
    const { serial } = await world.issue();
    world.clock.at += 20 * 60_000;
    await statusOf(serial);
    world.clock.at -= 20 * 60_000;
    const { singles } = await read((await world.responder.answer(await ask([serial]))).der);
    expect(singles[0]?.thisUpdate).toBeLessThanOrEqual(world.clock.at);
  });

  it('signs with a certificate that is for that alone, cannot be asked about, and ends within a week', async () => {
    const { serial } = await world.issue();
    const { der } = await world.responder.answer(await ask([serial]));
    const bytes = pkijs.OCSPResponse.fromBER(der).responseBytes?.response.valueBlock.valueHexView ?? new Uint8Array();
    const [certificate] = pkijs.BasicOCSPResponse.fromBER(new Uint8Array(bytes)).certs ?? [];
    const values = new Map(
      certificate?.extensions?.map(({ extnID, extnValue }) => [
        extnID,
        Buffer.from(extnValue.valueBlock.valueHexView).toString('hex'),
      ]),
    );
    expect(values.get('2.5.29.37')).toBe('300a06082b06010505070309');
    expect(values.get('1.3.6.1.5.5.7.48.1.5')).toBe('0500');
    expect(values.has('2.5.29.31')).toBe(false);
    const life = (certificate?.notAfter.value.getTime() ?? 0) - (certificate?.notBefore.value.getTime() ?? 0);
    expect(life).toBeLessThanOrEqual(7 * DAY + 600_000);
  });

  it('says when to ask again, and lets the answer be kept until then', async () => {
    const { serial } = await world.issue();
    const { der, kept } = await world.responder.answer(await ask([serial]));
    const { singles } = await read(der);
    expect(singles[0]).toEqual({ kind: 'good', thisUpdate: world.clock.at, nextUpdate: world.clock.at + 3_600_000 });
    expect(kept).toMatchObject({ lastModified: world.clock.at, expires: world.clock.at + 3_600_000 });
  });

  it('repeats a nonce, and such an answer is nobody else’s', async () => {
    const { serial } = await world.issue();
    const nonce = Buffer.alloc(32, 7);
    const { der, kept } = await world.responder.answer(await ask([serial], { nonce }));
    expect(kept).toBeUndefined();
    expect((await read(der)).nonce).toEqual(Buffer.concat([Buffer.of(4, 32), nonce]));
  });

  it('answers about up to 16 certificates at once', async () => {
    const { serial: good } = await world.issue('a');
    const { serial: bad } = await world.issue('b');
    await world.revoke(bad);
    const { der, kept } = await world.responder.answer(await ask([good, bad, newSerial()]));
    const { singles, isSigned } = await read(der);
    expect(isSigned).toBe(true);
    expect(singles.map(({ kind }) => kind)).toEqual(['good', 'revoked', 'unknown']);
    expect(kept).toBeUndefined();
    const many = await world.responder.answer(await ask(Array.from({ length: 17 }, () => good)));
    expect((await read(many.der)).status).toBe(1);
  });

  it('says nothing about the certificates of others', async () => {
    const issuer = makeRoot().certificate.der;
    const { der } = await world.responder.answer(await ask([newSerial()], { issuer }));
    // unauthorized, RFC 6960 2.3
    expect((await read(der)).status).toBe(6);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['garbage', Buffer.from('GET / HTTP/1.1')],
  ])('says malformedRequest to %s', async (_what, body) => {
    expect((await read((await world.responder.answer(body)).der)).status).toBe(1);
  });
});

async function answerTwice(serial: SerialNumber) {
  const request = await ask([serial]);
  return [await world.responder.answer(request), await world.responder.answer(request)];
}

/** Appointed by this issuer, until then. */
function responderOf(issuer: Made, notAfter: number) {
  const purpose = formatExtension(OID.extendedKeyUsage, false, sequence(oid(OID.ocspSigning)));
  const responder = makeCertificate({
    issuer,
    notBefore: world.clock.at - 1000,
    notAfter,
    extensions: [purpose],
  });
  const signer = createOcspSigner({ key: responder.key.privateKey, certificate: responder.certificate });
  const { certificate } = issuer;
  return { keyId: certificate.subjectKeyId ?? '', certificate, signer: () => signer };
}

it('gives no answer that is good for longer than the certificate of the responder', async () => {
  const { serial } = await world.issue();
  const end = world.clock.at + 600_000;
  world.responder.serve([responderOf(world.intermediate, end)]);
  const { der, kept } = await world.responder.answer(await ask([serial]));
  expect((await read(der)).singles[0]).toMatchObject({ kind: 'good', nextUpdate: end });
  expect(kept?.expires).toBe(end);
});

describe('of two issuers', () => {
  let other: Made;
  beforeEach(() => {
    const dates = { notBefore: world.clock.at - DAY, notAfter: world.clock.at + DAY };
    other = makeIntermediate(world.root, { ...dates, name: 'other' });
    const end = world.clock.at + DAY / 2;
    world.responder.serve([responderOf(world.intermediate, end), responderOf(other, end)]);
  });

  it('each has its own responder, which knows none of the certificates of the other', async () => {
    const { serial } = await world.issue();
    await world.revoke(serial);
    expect(await statusOf(serial)).toBe('revoked');
    const issuer = other.certificate.der;
    const { der } = await world.responder.answer(await ask([serial], { issuer }));
    const { singles, isSigned } = await read(der, issuer);
    expect([isSigned, singles[0]?.kind]).toEqual([true, 'unknown']);
    await expect(read(der)).rejects.toThrow(/signer/);
  });

  it('one request is about the certificates of one: no client believes an answer about those of both', async () => {
    const { serial } = await world.issue();
    const foreign = makeRoot().certificate.der;
    const own = world.intermediate.certificate.der;
    for (const issuers of [
      [own, other.certificate.der],
      [other.certificate.der, own],
      [own, foreign],
      [foreign, own],
    ]) {
      const both = new pkijs.OCSPRequest();
      for (const issuer of issuers) {
        const one = pkijs.OCSPRequest.fromBER(await ask([serial], { issuer }));
        both.tbsRequest.requestList.push(...one.tbsRequest.requestList);
      }
      const { der, kept } = await world.responder.answer(Buffer.from(both.toSchema(true).toBER()));
      expect(await read(der)).toMatchObject({ status: 6, isSigned: false });
      expect(kept).toBeUndefined();
    }
  });

  it('one may be named by both hashes in one request', async () => {
    const { serial } = await world.issue();
    const both = new pkijs.OCSPRequest();
    for (const hash of ['SHA-1', 'SHA-256'] as const) {
      const one = pkijs.OCSPRequest.fromBER(await ask([serial], { hash }));
      both.tbsRequest.requestList.push(...one.tbsRequest.requestList);
    }
    const { der } = await world.responder.answer(Buffer.from(both.toSchema(true).toBER()));
    expect((await read(der)).singles.map(({ kind }) => kind)).toEqual(['good', 'good']);
  });
});

describe('a kept answer', () => {
  it('is given out again as it is', async () => {
    const { serial } = await world.issue();
    const [first, second] = await answerTwice(serial);
    expect(second?.der).toBe(first?.der);
    expect(await world.metrics.text()).toMatch(/gatehouse_ocsp_answers_total\{outcome="good",kept="true"\} 1/);
  });

  it('is dropped at once when the certificate is revoked, held or released', async () => {
    const { serial } = await world.issue();
    expect(await statusOf(serial)).toBe('good');
    await world.revoke(serial, 'certificateHold');
    expect(await statusOf(serial)).toBe('revoked');
    await world.release(serial);
    expect(await statusOf(serial)).toBe('good');
    await world.revoke(serial);
    expect(await statusOf(serial)).toBe('revoked');
  });

  it('is dropped when another worker has revoked it, as soon as this one knows', async () => {
    const { serial } = await world.issue();
    world.publisher.onChanged = async (changes) => world.responder.forget(changes.map((change) => change.serial));
    await world.publish();
    expect(await statusOf(serial)).toBe('good');
    await world.revoke(serial);
    world.denySet.remove([serial]);
    await world.publish();
    expect(await statusOf(serial)).toBe('revoked');
  });

  it('is made anew long before it ends', async () => {
    const { serial } = await world.issue();
    const [first] = await answerTwice(serial);
    world.clock.at += 1_800_000;
    const { der } = await world.responder.answer(await ask([serial]));
    expect(der).not.toBe(first?.der);
    expect((await read(der)).singles[0]?.thisUpdate).toBe(world.clock.at);
  });

  it('is not made of an unknown serial, which may be issued the next moment', async () => {
    const [first, second] = await answerTwice(newSerial());
    expect(first?.kept).toBeUndefined();
    expect(second?.der).not.toBe(first?.der);
  });
});
