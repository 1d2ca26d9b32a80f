import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { readDer } from '#ca/pkix/der.ts';
import { endorsementKindOf } from '#ca/tpm2/endorsement-kind.ts';
import { endorsementAreaOf } from '#ca/tpm2/templates.ts';
import {
  ekPublicKeyOf,
  judgeEkPath,
  parseEkCertificate,
  requireEkProfile,
} from '#gateway/domain/attestation/endorsement.ts';
import type { SoftwareTpm } from '#scripts/tpm/software-tpm.ts';
import { createTpmMaker, type TpmMaker } from '#scripts/tpm/tpm-maker.ts';
import { lacks } from '#test/fixtures/processes/outside-tools.ts';

describe.skipIf(lacks('swtpm', 'swtpm_setup', 'tpm2_create'))('EK certificates as swtpm_localca makes them', () => {
  let maker: TpmMaker;
  let tpm: SoftwareTpm;
  let root: Certificate;
  let issuer: Certificate;

  beforeAll(async () => {
    maker = await createTpmMaker();
    tpm = await maker.makeTpm();
    root = parseCertificate(await maker.root());
    issuer = parseCertificate(await maker.issuer());
  });
  afterAll(() => maker?.dispose());

  it.each([
    ['rsa-2048', '0x1c00002'],
    ['ec-p384', '0x1c00016'],
  ])('are accepted for %s, up to the pinned root and until the year 9999', async (kind, index) => {
    const certificate = await readEkCertificate(index);
    const now = Date.now();
    expect(requireEkProfile(certificate).manufacturer).not.toBe('');
    expect(endorsementKindOf(endorsementAreaOf(ekPublicKeyOf(certificate)))).toBe(kind);
    const trust = { roots: [root], intermediates: [issuer] };
    expect(judgeEkPath(certificate, trust, now)).toBeUndefined();
    expect(new Date(certificate.notAfter).getUTCFullYear()).toBe(9999);
    expect(judgeEkPath(certificate, { roots: [], intermediates: [root, issuer] }, now)).toMatchObject({
      code: 'EK_CERTIFICATE_UNTRUSTED',
    });
    expect(judgeEkPath(certificate, { roots: [root], intermediates: [] }, now)).toMatchObject({
      code: 'EK_CERTIFICATE_UNTRUSTED',
    });
    expect(judgeEkPath(certificate, trust, Date.UTC(2020, 0))).toMatchObject({ code: 'EK_CERTIFICATE_EXPIRED' });
  });

  it('are told apart from the certificates of their makers', () => {
    for (const certificate of [root, issuer]) {
      expect(() => requireEkProfile(certificate)).toThrow(/no EK certificate/);
    }
  });

  async function readEkCertificate(index: string): Promise<Certificate> {
    const file = join(tpm.stateDir, `${index}.crt`);
    await tpm.tool('tpm2_nvread', '-C', 'o', index, '-o', file);
    const bytes = await readFile(file);
    const length = bytes.readUInt16BE(2) + 4;
    return parseEkCertificate(readDer(bytes.subarray(0, length)).raw);
  }
});
