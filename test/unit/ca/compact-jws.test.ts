import { createHmac, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type CompactJws, formatCompactJws, parseCompactJws, verifyCompactJws } from '#ca/pkix/compact-jws.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { makeCertificate } from '#test/fixtures/ca/certificates.ts';
import { makeKey } from '#test/fixtures/ca/keys.ts';

const { certificate, key } = makeCertificate();
const jws = formatCompactJws({
  payload: { id: 'n1', text: 'ä' },
  type: 'test+jws',
  certificates: [certificate.der],
  privateKey: key.privateKey,
});

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const [header = '', payload = '', signature = ''] = jws.split('.');
const fields = { alg: 'ES256', typ: 'test+jws', x5c: [certificate.der.toString('base64')] };

describe('compact JWS', () => {
  it('is read and verified', () => {
    const parsed = parseCompactJws(jws);
    expect(parsed.header).toEqual({ alg: 'ES256', typ: 'test+jws', x5c: [certificate.der] });
    expect(parsed.payload).toEqual({ id: 'n1', text: 'ä' });
    expect(parsed.signature).toHaveLength(64);
    expect(verifyCompactJws(parsed, certificate.publicKey)).toBe(true);
  });

  it('verifies with WebCrypto too', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
    const publicKey = await crypto.subtle.importKey('spki', new Uint8Array(certificate.publicKey), algorithm, false, [
      'verify',
    ]);
    const input = new TextEncoder().encode(`${header}.${payload}`);
    const octets = new Uint8Array(Buffer.from(signature, 'base64url'));
    expect(await crypto.subtle.verify({ ...algorithm, hash: 'SHA-256' }, publicKey, octets, input)).toBe(true);
  });

  it('reads the example of RFC 7515 A.3, once it has our header', () => {
    const x = 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU';
    const y = 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0';
    const prefix = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');
    const spki = Buffer.concat([prefix, Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
    const input =
      'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ';
    const value = 'DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q';
    const example: CompactJws = {
      header: { alg: 'ES256', typ: '', x5c: [] },
      payload: undefined,
      signingInput: Buffer.from(input),
      signature: Buffer.from(value, 'base64url'),
    };
    expect(verifyCompactJws(example, spki)).toBe(true);
    expect(verifyCompactJws({ ...example, signingInput: Buffer.from(`${input}x`) }, spki)).toBe(false);
  });

  it.each([
    ['a changed payload', () => `${header}.${part({ id: 'n2' })}.${signature}`],
    [
      'another key',
      () => {
        const forged = sign('sha256', Buffer.from(`${header}.${payload}`), {
          key: makeKey().privateKey,
          dsaEncoding: 'ieee-p1363',
        });
        return `${header}.${payload}.${forged.toString('base64url')}`;
      },
    ],
    [
      'a DER signature',
      () =>
        `${header}.${payload}.${sign('sha256', Buffer.from(`${header}.${payload}`), key.privateKey).toString('base64url')}`,
    ],
    [
      'a MAC made with the public key',
      () => {
        const mac = createHmac('sha256', certificate.publicKey).update(`${header}.${payload}`).digest('base64url');
        return `${header}.${payload}.${mac}`;
      },
    ],
  ])('does not verify with %s', (_what, forge) => {
    expect(verifyCompactJws(parseCompactJws(forge()), certificate.publicKey)).toBe(false);
  });

  it('does not verify with a key of another kind', () => {
    expect(verifyCompactJws(parseCompactJws(jws), makeKey('ed25519').spki)).toBe(false);
    expect(verifyCompactJws(parseCompactJws(jws), makeKey('ec-p384').spki)).toBe(false);
    expect(verifyCompactJws(parseCompactJws(jws), Buffer.from('garbage'))).toBe(false);
  });

  it.each([
    ['two parts', `${header}.${payload}`],
    ['four parts', `${jws}.x`],
    ['alg none', `${part({ ...fields, alg: 'none' })}.${payload}.`],
    ['alg HS256', `${part({ ...fields, alg: 'HS256' })}.${payload}.${signature}`],
    ['an unknown crit', `${part({ ...fields, crit: ['b64'], b64: false })}.${payload}.${signature}`],
    ['no typ', `${part({ ...fields, typ: undefined })}.${payload}.${signature}`],
    ['no x5c', `${part({ ...fields, x5c: [] })}.${payload}.${signature}`],
    ['x5c in base64url', `${part({ ...fields, x5c: ['-_-_'] })}.${payload}.${signature}`],
    ['a header that is a list', `${part([])}.${payload}.${signature}`],
    ['a payload that is not JSON', `${header}.${Buffer.from('{').toString('base64url')}.${signature}`],
    ['padding', `${header}.${payload}.${signature}=`],
    ['stray characters', `${header}.${payload}*.${signature}`],
    ['more than 64 KiB', `${header}.${'A'.repeat(65_536)}.${signature}`],
  ])('is refused with %s', (_what, text) => {
    expect(() => parseCompactJws(text)).toThrow(PkixError);
  });
});
