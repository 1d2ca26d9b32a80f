import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCertificate } from '#ca/pkix/certificate.ts';
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
import { lacks } from '#test/fixtures/processes/outside-tools.ts';
import { type SoftwareTpm, startSoftwareTpm } from './software-tpm.ts';

const SRK = 0x81000001;
const AK = 0x81010002;
const DEVICE = 0x81000010;
const DUPLICABLE = 0x81000011;
const RSA_EK = 0x81010001;
const P384_EK = 0x81010016;
const hex = (handle: number) => `0x${handle.toString(16)}`;
const NODA = 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda';

describe.skipIf(lacks('swtpm', 'swtpm_setup', 'tpm2_send'))('a real TPM (swtpm, tpm2-tools)', () => {
  let tpm: SoftwareTpm;

  beforeAll(async () => {
    tpm = await startSoftwareTpm();
    const srk = `${NODA}|restricted|decrypt`;
    tpm.tool('tpm2_createprimary', '-C', 'o', '-G', 'ecc256', '-g', 'sha256', '-a', srk, '-c', 'srk.ctx', '-Q');
    tpm.tool('tpm2_evictcontrol', '-C', 'o', '-c', 'srk.ctx', hex(SRK));
    // Without `null` the tools give the key a cipher, which a key that does not decrypt may not have (0x2d6).
    create('ak', AK, 'ecc256:ecdsa-sha256:null', `${NODA}|restricted|sign`);
    create('device', DEVICE, 'ecc256', `${NODA}|sign`);
    create('duplicable', DUPLICABLE, 'ecc256', 'sensitivedataorigin|userwithauth|noda|sign');
  });

  afterAll(() => tpm?.stop());

  function create(name: string, handle: number, algorithm: string, attributes: string): void {
    const files = ['-u', `${name}.pub`, '-r', `${name}.priv`];
    tpm.tool('tpm2_create', '-C', hex(SRK), '-G', algorithm, '-g', 'sha256', '-a', attributes, ...files, '-Q');
    tpm.tool('tpm2_load', '-C', hex(SRK), ...files, '-c', `${name}.ctx`, '-Q');
    tpm.tool('tpm2_evictcontrol', '-C', 'o', '-c', `${name}.ctx`, hex(handle));
  }

  function readPublic(handle: number): { area: PublicArea; sized: Buffer; name: Buffer; der: Buffer } {
    const c = ['-c', hex(handle)];
    tpm.tool('tpm2_readpublic', ...c, '-f', 'tss', '-o', 'public.tss', '-n', 'public.name', '-Q');
    tpm.tool('tpm2_readpublic', ...c, '-f', 'der', '-o', 'public.der', '-Q');
    const sized = tpm.read('public.tss');
    return {
      area: parseSizedPublicArea(sized),
      sized,
      name: tpm.read('public.name'),
      der: tpm.read('public.der'),
    };
  }

  it.each([
    ['SRK', SRK],
    ['AK', AK],
    ['device key', DEVICE],
    ['RSA EK', RSA_EK],
    ['P-384 EK', P384_EK],
  ])('names its %s as we do, writes it as we do and exports the same key', (_what, handle) => {
    const { area, sized, name, der } = readPublic(handle);
    expect(nameOf(area)).toEqual(name);
    expect(formatSizedPublicArea(area)).toEqual(sized);
    expect(formatSpki(area)).toEqual(der);
  });

  it('gives keys the attributes of our templates', () => {
    expect(readPublic(SRK).area.attributes).toEqual(SRK_ATTRIBUTES);
    expect(readPublic(AK).area.attributes).toEqual(AK_ATTRIBUTES);
    expect(readPublic(DEVICE).area.attributes).toEqual(DEVICE_KEY_ATTRIBUTES);
    expect([SRK_ATTRIBUTES, AK_ATTRIBUTES, DEVICE_KEY_ATTRIBUTES].map(formatAttributes)).toEqual([
      0x00030472, 0x00050472, 0x00040472,
    ]);
  });

  function endorsementCertificate(nvIndex: string): ReturnType<typeof parseCertificate> {
    tpm.tool('tpm2_nvread', '-C', 'o', nvIndex, '-o', 'ek.crt');
    return parseCertificate(tpm.read('ek.crt'));
  }

  describe.each([
    ['RSA-2048', '0x1c00002', RSA_EK],
    ['P-384', '0x1c00016', P384_EK],
  ])('its %s endorsement key', (_kind, nvIndex, handle) => {
    it('has a certificate that leads to the root of the manufacturer', () => {
      const path = validatePath(endorsementCertificate(nvIndex), {
        intermediates: [parseCertificate(tpm.makerIssuer)],
        anchors: [parseCertificate(tpm.makerRoot)],
        at: Date.now(),
        extendedKeyUsage: OID.ekCertificate,
      });
      expect(path).toHaveLength(3);
    });

    it('has the public area that we make of the certificate alone', () => {
      expect(endorsementAreaOf(endorsementCertificate(nvIndex).publicKey)).toEqual(readPublic(handle).area);
    });

    it('opens our credential for its attestation key, and not for another key', () => {
      const ekPublic = endorsementAreaOf(endorsementCertificate(nvIndex).publicKey);
      const secret = randomBytes(32);
      expect(activate(handle, ekPublic, readPublic(AK).name, secret)).toEqual(secret);
      // TPM_RC_INTEGRITY
      expect(() => activate(handle, ekPublic, readPublic(DEVICE).name, secret)).toThrow(/0x1df/i);
    });
  });

  it('opens our credential for a P-256 endorsement key made from the standard template', () => {
    tpm.tool('tpm2_createek', '-c', 'ek256.ctx', '-G', 'ecc', '-u', 'ek256.pub', '-Q');
    tpm.tool('tpm2_evictcontrol', '-C', 'o', '-c', 'ek256.ctx', '0x8101000a');
    const { area, der } = readPublic(0x8101000a);
    expect(endorsementAreaOf(der)).toEqual(area);
    const secret = randomBytes(32);
    expect(activate(0x8101000a, area, readPublic(AK).name, secret)).toEqual(secret);
  });

  it('does not open a credential for the endorsement key of another TPM', () => {
    const { area } = readPublic(RSA_EK);
    if (area.type !== 'rsa') throw new Error('not RSA');
    const modulus = Buffer.from(area.modulus);
    modulus[5] = (modulus[5] ?? 0) ^ 1;
    expect(() => activate(RSA_EK, { ...area, modulus }, readPublic(AK).name, randomBytes(32))).toThrow(/Esys_Activate/);
  });

  function activate(ek: number, ekPublic: PublicArea, akName: Buffer, secret: Buffer): Buffer {
    const { credentialBlob, encryptedSecret } = makeCredential({ ekPublic, akName, secret, random: randomBytes });
    const header = Buffer.from('badcc0de00000001', 'hex');
    tpm.write('cred.bin', Buffer.concat([header, credentialBlob, encryptedSecret]));
    const command = [
      'tpm2_activatecredential',
      '-Q',
      '-c',
      hex(AK),
      '-C',
      hex(ek),
      '-i',
      'cred.bin',
      '-o',
      'secret.bin',
    ];
    const [tool = '', ...args] = command;
    // The high range's template lets the key be used by its own (empty) auth, the low range's by policy only.
    if (ek === P384_EK) tpm.tool(tool, ...args);
    else {
      tpm.tool('tpm2_startauthsession', '--policy-session', '-S', 's.ctx');
      try {
        tpm.tool('tpm2_policysecret', '-Q', '-S', 's.ctx', '-c', 'e');
        tpm.tool(tool, ...args, '-P', 'session:s.ctx');
      } finally {
        tpm.tool('tpm2_flushcontext', 's.ctx');
      }
    }
    return tpm.read('secret.bin');
  }

  function evidenceOf(handle: number, freshness: Buffer): CertifyEvidence {
    const key = readPublic(handle);
    const ak = readPublic(AK);
    const qualifyingData = bindEvidence(freshness, key.der);
    tpm.write('command.bin', formatCertifyCommand({ objectHandle: handle, signHandle: AK, qualifyingData }));
    tpm.tool('tpm2_send', '-o', 'response.bin', 'command.bin');
    const { attest, signature } = parseCertifyResponse(tpm.read('response.bin'));
    return {
      ak: formatPublicArea(ak.area),
      expectedAkName: ak.name,
      attested: formatPublicArea(key.area),
      attest,
      signature,
      qualifyingData,
      csrPublicKey: key.der,
    };
  }

  it('certifies its key so that the evidence verifies, the signature in either form', () => {
    const evidence = evidenceOf(DEVICE, randomBytes(32));
    expect(() => verifyCertifyEvidence(evidence)).not.toThrow();
    const der = formatPlainSignature(parseTpmSignature(evidence.signature));
    expect(() => verifyCertifyEvidence({ ...evidence, signature: der })).not.toThrow();
  });

  it('certifies honestly a key that may leave it, and that evidence is refused', () => {
    const evidence = evidenceOf(DUPLICABLE, randomBytes(32));
    expect(() => verifyCertifyEvidence(evidence)).toThrow(expect.objectContaining({ code: 'KEY_ATTRIBUTES' }));
  });

  it('quotes PCRs instead, and that evidence is refused', () => {
    const evidence = evidenceOf(DEVICE, randomBytes(32));
    const q = ['-q', Buffer.from(evidence.qualifyingData).toString('hex')];
    const output = ['-m', 'quote.msg', '-s', 'quote.sig', '-f', 'tss'];
    tpm.tool('tpm2_quote', '-c', hex(AK), '-l', 'sha256:0', ...q, '-g', 'sha256', ...output, '-Q');
    const quote = { attest: tpm.read('quote.msg'), signature: tpm.read('quote.sig') };
    expect(() => verifyCertifyEvidence({ ...evidence, ...quote })).toThrow(
      expect.objectContaining({ code: 'ATTEST_TYPE' }),
    );
  });

  it('does not sign foreign data that looks like an attestation with its attestation key', () => {
    tpm.write('forged.bin', evidenceOf(DEVICE, randomBytes(32)).attest);
    const sign = ['-c', hex(AK), '-g', 'sha256', '-s', 'ecdsa', '-o', 'forged.sig', 'forged.bin', '-Q'];
    // TPM_RC_TICKET: TPM2_Hash vouches for no data that starts like a TPM structure.
    expect(() => tpm.tool('tpm2_sign', ...sign)).toThrow(/0x3e0/i);
  });
});
