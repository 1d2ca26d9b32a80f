import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { formatCertifyCommand, parseCertifyResponse } from '#ca/tpm2/certify-command.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { formatAttributes } from '#ca/tpm2/object-attributes.ts';
import {
  formatPublicArea,
  formatSizedPublicArea,
  nameOf,
  type PublicArea,
  parseSizedPublicArea,
} from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { formatPlainSignature, parseTpmSignature } from '#ca/tpm2/signature.ts';
import { AK_ATTRIBUTES, DEVICE_KEY_ATTRIBUTES, endorsementAreaOf, SRK_ATTRIBUTES } from '#ca/tpm2/templates.ts';
import { type CertifyEvidence, verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

const SRK = 0x81000001;
const DEVICE = 0x81000010;
const DUPLICABLE = 0x81000011;
const RSA_EK = 0x81010001;
const AK = 0x81010002;
const RSA_AK = 0x81010003;
const P256_EK = 0x8101000a;
const P384_EK = 0x81010016;
const hex = (handle: number) => `0x${handle.toString(16)}`;
const NODA = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda';
const RESTRICTED = `${NODA}|restricted|sign`;

describe.skipIf(lacks('swtpm', 'swtpm_setup', 'tpm2_send'))('a real TPM (swtpm, tpm2-tools)', () => {
  let maker: TpmMaker;
  let tpm: SoftwareTpm;

  beforeAll(async () => {
    maker = await createTpmMaker();
    tpm = await maker.makeTpm();
    const attributes = `${NODA}|restricted|decrypt`;
    await tool('tpm2_createprimary', '-C', 'o', '-G', 'ecc256', '-g', 'sha256', '-a', attributes, '-c', 'srk.ctx');
    await tool('tpm2_evictcontrol', '-C', 'o', '-c', 'srk.ctx', hex(SRK));
    // Without `null` the tools give the key a cipher, which a key that does not decrypt may not have (0x2d6).
    await create(AK, 'ecc256:ecdsa-sha256:null', RESTRICTED);
    await create(RSA_AK, 'rsa2048:rsassa-sha256:null', RESTRICTED);
    await create(DEVICE, 'ecc256', `${NODA}|sign`);
    await create(DUPLICABLE, 'ecc256', 'sensitivedataorigin|userwithauth|noda|sign');
  });

  afterAll(() => maker?.dispose());

  /** Every tool leaves its objects behind, and there are three slots. */
  async function tool(name: string, ...args: string[]): Promise<void> {
    try {
      await tpm.tool(name, ...args);
    } finally {
      await tpm.tool('tpm2_flushcontext', '-t');
    }
  }

  const read = (file: string) => readFile(join(tpm.stateDir, file));
  const write = (file: string, bytes: Uint8Array) => writeFile(join(tpm.stateDir, file), bytes);

  async function create(handle: number, algorithm: string, attributes: string): Promise<void> {
    const files = ['-u', `${handle}.pub`, '-r', `${handle}.priv`];
    await tool('tpm2_create', '-C', hex(SRK), '-G', algorithm, '-g', 'sha256', '-a', attributes, ...files);
    await tool('tpm2_load', '-C', hex(SRK), ...files, '-c', `${handle}.ctx`);
    await tool('tpm2_evictcontrol', '-C', 'o', '-c', `${handle}.ctx`, hex(handle));
  }

  type Shown = { area: PublicArea; sized: Buffer; name: Buffer; der: Buffer };

  async function readPublic(handle: number): Promise<Shown> {
    await tool('tpm2_readpublic', '-c', hex(handle), '-f', 'tss', '-o', 'public.tss', '-n', 'public.name');
    await tool('tpm2_readpublic', '-c', hex(handle), '-f', 'der', '-o', 'public.der');
    const [sized, name, der] = await Promise.all([read('public.tss'), read('public.name'), read('public.der')]);
    return { area: parseSizedPublicArea(sized), sized, name, der };
  }

  it.each([
    ['SRK', SRK],
    ['AK', AK],
    ['RSA AK', RSA_AK],
    ['device key', DEVICE],
    ['RSA EK', RSA_EK],
    ['P-384 EK', P384_EK],
  ])('names its %s as we do, writes it as we do and exports the same key', async (_what, handle) => {
    const { area, sized, name, der } = await readPublic(handle);
    expect(nameOf(area)).toEqual(name);
    expect(formatSizedPublicArea(area)).toEqual(sized);
    expect(formatSpki(area)).toEqual(der);
  });

  it.each([
    ['SRK', SRK, SRK_ATTRIBUTES, 0x00030472],
    ['AK', AK, AK_ATTRIBUTES, 0x00050472],
    ['device key', DEVICE, DEVICE_KEY_ATTRIBUTES, 0x00040472],
  ])('gives its %s the attributes of our template', async (_what, handle, attributes, bits) => {
    expect((await readPublic(handle)).area.attributes).toEqual(attributes);
    expect(formatAttributes(attributes)).toBe(bits);
  });

  async function endorsementCertificate(nvIndex: string): Promise<Certificate> {
    await tool('tpm2_nvread', '-C', 'o', nvIndex, '-o', 'ek.crt');
    return parseCertificate(await read('ek.crt'));
  }

  /** As the device does it. @returns what the TPM found inside */
  async function activate(ek: number, ekPublic: PublicArea, akName: Buffer, secret: Buffer): Promise<Buffer> {
    const { credentialBlob, encryptedSecret } = makeCredential({ ekPublic, akName, secret, random: randomBytes });
    const header = Buffer.from('badcc0de00000001', 'hex');
    await write('cred.bin', Buffer.concat([header, credentialBlob, encryptedSecret]));
    const args = ['-c', hex(AK), '-C', hex(ek), '-i', 'cred.bin', '-o', 'secret.bin'];
    // The template of the high range lets the key be used by its own empty auth, the low range by policy only.
    if (ek === P384_EK) await tool('tpm2_activatecredential', ...args);
    else {
      await tool('tpm2_startauthsession', '--policy-session', '-S', 's.ctx');
      try {
        await tool('tpm2_policysecret', '-S', 's.ctx', '-c', 'e');
        await tool('tpm2_activatecredential', ...args, '-P', 'session:s.ctx');
      } finally {
        await tool('tpm2_flushcontext', 's.ctx');
      }
    }
    return read('secret.bin');
  }

  describe.each([
    ['RSA-2048', '0x1c00002', RSA_EK],
    ['P-384', '0x1c00016', P384_EK],
  ])('its %s endorsement key', (_kind, nvIndex, handle) => {
    it('has a certificate that leads to the root of the manufacturer', async () => {
      const path = validatePath(await endorsementCertificate(nvIndex), {
        intermediates: [parseCertificate(await maker.issuer())],
        anchors: [parseCertificate(await maker.root())],
        at: Date.now(),
        extendedKeyUsage: OID.ekCertificate,
      });
      expect(path).toHaveLength(3);
    });

    it('has the public area that we make of the certificate alone', async () => {
      const { publicKey } = await endorsementCertificate(nvIndex);
      expect(endorsementAreaOf(publicKey)).toEqual((await readPublic(handle)).area);
    });

    it('opens our credential for its attestation key, and not for another key', async () => {
      const ekPublic = endorsementAreaOf((await endorsementCertificate(nvIndex)).publicKey);
      const secret = randomBytes(32);
      expect(await activate(handle, ekPublic, (await readPublic(AK)).name, secret)).toEqual(secret);
      const other = (await readPublic(DEVICE)).name;
      // TPM_RC_INTEGRITY
      await expect(activate(handle, ekPublic, other, secret)).rejects.toThrow(/0x1df/i);
    });
  });

  it('opens our credential for a P-256 endorsement key made from the standard template', async () => {
    await tool('tpm2_createek', '-c', 'ek256.ctx', '-G', 'ecc', '-u', 'ek256.pub');
    await tool('tpm2_evictcontrol', '-C', 'o', '-c', 'ek256.ctx', hex(P256_EK));
    const { area, der } = await readPublic(P256_EK);
    expect(endorsementAreaOf(der)).toEqual(area);
    const secret = randomBytes(32);
    expect(await activate(P256_EK, area, (await readPublic(AK)).name, secret)).toEqual(secret);
  });

  it('does not open a credential for the endorsement key of another TPM', async () => {
    await tool('tpm2_createprimary', '-C', 'o', '-G', 'rsa2048', '-g', 'sha256', '-c', 'other.ctx');
    await tool('tpm2_evictcontrol', '-C', 'o', '-c', 'other.ctx', hex(0x81000020));
    const other = endorsementAreaOf((await readPublic(0x81000020)).der);
    const { name } = await readPublic(AK);
    await expect(activate(RSA_EK, other, name, randomBytes(32))).rejects.toThrow(/Esys_ActivateCredential\(0x/);
  });

  async function evidenceOf(handle: number, freshness: Buffer, signHandle = AK): Promise<CertifyEvidence> {
    const key = await readPublic(handle);
    const ak = await readPublic(signHandle);
    const qualifyingData = bindEvidence(freshness, key.der);
    await write('command.bin', formatCertifyCommand({ objectHandle: handle, signHandle, qualifyingData }));
    await tool('tpm2_send', '-o', 'response.bin', 'command.bin');
    return {
      ak: formatPublicArea(ak.area),
      expectedAkName: ak.name,
      attested: formatPublicArea(key.area),
      ...parseCertifyResponse(await read('response.bin')),
      qualifyingData,
      csrPublicKey: key.der,
    };
  }

  it.each([
    ['ECDSA', AK],
    ['RSASSA', RSA_AK],
  ])('certifies its key with %s so that the evidence verifies, the signature in either form', async (_scheme, ak) => {
    const evidence = await evidenceOf(DEVICE, randomBytes(32), ak);
    expect(() => verifyCertifyEvidence(evidence)).not.toThrow();
    const signature = formatPlainSignature(parseTpmSignature(evidence.signature));
    expect(() => verifyCertifyEvidence({ ...evidence, signature })).not.toThrow();
  });

  it('certifies honestly a key that may leave it, and that evidence is refused', async () => {
    const evidence = await evidenceOf(DUPLICABLE, randomBytes(32));
    expect(() => verifyCertifyEvidence(evidence)).toThrow(expect.objectContaining({ code: 'KEY_ATTRIBUTES' }));
  });

  it('quotes PCRs instead, and that evidence is refused', async () => {
    const evidence = await evidenceOf(DEVICE, randomBytes(32));
    const nonce = Buffer.from(evidence.qualifyingData).toString('hex');
    const output = ['-m', 'quote.msg', '-s', 'quote.sig', '-f', 'tss'];
    await tool('tpm2_quote', '-c', hex(AK), '-l', 'sha256:0', '-q', nonce, '-g', 'sha256', ...output);
    const quote = { attest: await read('quote.msg'), signature: await read('quote.sig') };
    expect(() => verifyCertifyEvidence({ ...evidence, ...quote })).toThrow(
      expect.objectContaining({ code: 'ATTEST_TYPE' }),
    );
  });

  it('does not sign foreign data that looks like an attestation with its attestation key', async () => {
    await write('forged.bin', (await evidenceOf(DEVICE, randomBytes(32))).attest);
    const sign = tool('tpm2_sign', '-c', hex(AK), '-g', 'sha256', '-s', 'ecdsa', '-o', 'forged.sig', 'forged.bin');
    // TPM_RC_TICKET: TPM2_Hash vouches for no data that starts like a structure of the TPM.
    await expect(sign).rejects.toThrow(/0x3e0/i);
  });
});
