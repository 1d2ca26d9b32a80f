import { describe, expect, it } from 'vitest';
import { readDer } from '#ca/pkix/der.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import { formatCertifyCommand, parseCertifyResponse } from '#ca/tpm2/certify-command.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { formatTss2Pem } from '#ca/tpm2/tss2-pem.ts';
import { RECORDED_RESPONSE } from '#test/fixtures/ca/recorded-evidence.ts';

describe('formatTss2Pem', () => {
  it('writes the key as the OpenSSL provider reads it', () => {
    const [publicArea, privateArea] = [Buffer.alloc(90, 1), Buffer.alloc(200, 2)];
    const pem = formatTss2Pem({ parentHandle: 0x81000001, publicArea, privateArea });
    const fields = readDer(parsePem(pem, 'TSS2 PRIVATE KEY')[0] ?? Buffer.alloc(0)).children();
    expect(fields.map(({ raw }) => raw.toString('hex')).slice(0, 3)).toEqual([
      '06066781050a0103',
      'a0030101ff',
      '02050081000001',
    ]);
    expect(fields.slice(3).map(({ content }) => content)).toEqual([publicArea, privateArea]);
    expect(pem.split('\n').every((line) => line.length <= 64)).toBe(true);
  });
});

describe('formatCertifyCommand', () => {
  it('writes TPM2_Certify with empty passwords and the scheme of the signing key', () => {
    const command = { objectHandle: 0x81000010, signHandle: 0x81010002, qualifyingData: Buffer.from('abcd', 'hex') };
    expect(formatCertifyCommand(command).toString('hex')).toBe(
      '80020000002e000001488100001081010002000000124000000900000000004000000900000000000002abcd0010',
    );
  });
});

describe('parseCertifyResponse', () => {
  it('tells the response code of a refusal', () => {
    const refusal = Buffer.from('80010000000a00000902', 'hex');
    expect(() => parseCertifyResponse(refusal)).toThrow(/0x902/);
    expect(() => parseCertifyResponse(refusal)).toThrow(expect.objectContaining({ code: 'RESPONSE_REFUSED' }));
  });

  it.each([
    ['cut short', RECORDED_RESPONSE.subarray(0, -1)],
    ['with octets after it', Buffer.concat([RECORDED_RESPONSE, Buffer.of(0)])],
    ['that is empty', Buffer.alloc(0)],
  ])('refuses one %s', (_what, bytes) => {
    expect(() => parseCertifyResponse(bytes)).toThrow(expect.objectContaining({ code: 'RESPONSE_MALFORMED' }));
  });
});

describe('bindEvidence', () => {
  it('is 32 octets that change with freshness and key', () => {
    const [a, b] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    // printf 'gatehouse-attest-v1\0' + 32 x 01 + SHA-256(32 x 02), through sha256sum
    expect(bindEvidence(a, b).toString('hex')).toBe('b10f23adeb2f9f5e88fd0d37dde57879f481def1355e1a91bbea89ffa6e17a26');
    expect(bindEvidence(b, b)).not.toEqual(bindEvidence(a, b));
    expect(bindEvidence(a, a)).not.toEqual(bindEvidence(a, b));
  });
});
