import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { type CsrAttribute, formatCsrAttributes, parseCsrAttributes, readCsrWishes } from '#ca/pkix/csr-attributes.ts';
import { integer, nullValue, oid, printableString, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatRequestTemplate, parseRequestTemplate } from '#ca/pkix/request-template.ts';
import { keyAttribute, wantedKeyOf } from '#ca/pkix/wanted-key.ts';

/** RFC 9908 5.2. */
const VECTOR = Buffer.from('MDIGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiBgcrBgEBAQEWBggqhkjOPQQDAw==', 'base64');
const VECTOR_ITEMS: CsrAttribute[] = [
  { oid: OID.challengePassword },
  { oid: OID.ecPublicKey, values: [oid(OID.secp384r1)] },
  { oid: '1.3.6.1.1.1.1.22' },
  { oid: OID.ecdsaWithSha384 },
];
const KINDS = ['ec-p256', 'ec-p384', 'ed25519', 'rsa-2048', 'rsa-3072', 'rsa-4096'] as const;

function templateItem(value: Buffer): CsrAttribute {
  return { oid: OID.certificationRequestInfoTemplate, values: [value] };
}

test('reads the example of RFC 9908 5.2 and writes it byte for byte', () => {
  expect(parseCsrAttributes(VECTOR)).toEqual(VECTOR_ITEMS);
  expect(formatCsrAttributes(VECTOR_ITEMS).equals(VECTOR)).toBe(true);
  expect(readCsrWishes(VECTOR)).toEqual({ wantsBinding: true, key: wantedKeyOf('ec-p384') });
});

test('takes the empty list as no wishes', () => {
  expect(formatCsrAttributes([]).toString('base64')).toBe('MAA=');
  expect(readCsrWishes(Buffer.from('3000', 'hex'))).toEqual({ wantsBinding: false });
});

test('passes over what it does not know (RFC 8951 4)', () => {
  const der = formatCsrAttributes([{ oid: '1.2.3.4', values: [nullValue(), integer(7)] }, { oid: '2.999' }]);
  expect(readCsrWishes(der)).toEqual({ wantsBinding: false });
});

describe.each(KINDS)('a wish for %s', (kind) => {
  test('comes back from the single items', () => {
    const der = formatCsrAttributes([keyAttribute(wantedKeyOf(kind))]);
    expect(readCsrWishes(der).key).toEqual(wantedKeyOf(kind));
  });

  test('comes back from the template, which counts alone', () => {
    const template = formatRequestTemplate({ key: wantedKeyOf(kind), attributes: [] });
    const other = keyAttribute(wantedKeyOf(kind === 'ec-p384' ? 'ec-p256' : 'ec-p384'));
    const der = formatCsrAttributes([{ oid: OID.challengePassword }, other, templateItem(template)]);
    expect(readCsrWishes(der)).toMatchObject({ wantsBinding: false, key: wantedKeyOf(kind) });
  });
});

test('writes the template as RFC 9908 appendix A has it', () => {
  const template = formatRequestTemplate({
    key: wantedKeyOf('ec-p256'),
    attributes: [{ oid: OID.challengePassword, values: [printableString('')] }],
  });
  expect(template.toString('hex')).toBe(
    // version 0, [0] IMPLICIT { algorithm }, [1] IMPLICIT SET OF Attribute
    [
      '302d020100',
      'a015',
      '301306072a8648ce3d020106082a8648ce3d030107',
      'a111',
      '300f06092a864886f70d01090731021300',
    ].join(''),
  );
  const empty = formatRequestTemplate({ attributes: [] });
  expect(empty.toString('hex')).toBe('3005020100a100');
  expect(parseRequestTemplate(empty)).toEqual({ attributes: [] });
});

test('tells the size of an RSA key by a placeholder that OpenSSL reads as a key of that size', () => {
  const template = formatRequestTemplate({ key: wantedKeyOf('rsa-3072'), attributes: [] });
  const text = execFileSync('openssl', ['asn1parse', '-inform', 'DER', '-strparse', '26'], { input: template });
  expect(text.toString()).toMatch(/INTEGER +:80(00){382}01\n.*INTEGER +:010001/);
});

test.each([
  ['no sequence', Buffer.from('3100', 'hex')],
  ['octets after the end', Buffer.concat([VECTOR, Buffer.of(0)])],
  ['an item that is neither an OID nor an Attribute', sequence(integer(1))],
  ['an Attribute with a third field', sequence(sequence(oid('1.2.3'), setOf(), integer(1)))],
  ['an Attribute without values', sequence(sequence(oid('1.2.3')))],
  [
    'two wanted keys',
    formatCsrAttributes([keyAttribute(wantedKeyOf('ec-p256')), keyAttribute(wantedKeyOf('ec-p384'))]),
  ],
  [
    'two curves for one key',
    formatCsrAttributes([{ oid: OID.ecPublicKey, values: [oid(OID.secp384r1), oid(OID.prime256v1)] }]),
  ],
  ['a size for an EC key', formatCsrAttributes([{ oid: OID.ecPublicKey, values: [integer(256)] }])],
  [
    'two templates in one attribute',
    formatCsrAttributes([
      {
        oid: OID.certificationRequestInfoTemplate,
        values: [
          formatRequestTemplate({ attributes: [] }),
          formatRequestTemplate({ key: wantedKeyOf('ed25519'), attributes: [] }),
        ],
      },
    ]),
  ],
  ['a template of version 1', formatCsrAttributes([templateItem(sequence(integer(1), Buffer.from('a100', 'hex')))])],
  ['a template without attributes', formatCsrAttributes([templateItem(sequence(integer(0)))])],
  [
    'a template with both lists of extensions',
    formatCsrAttributes([
      templateItem(
        formatRequestTemplate({
          attributes: [
            { oid: OID.extensionRequest, values: [sequence()] },
            { oid: OID.extensionReqTemplate, values: [sequence()] },
          ],
        }),
      ),
    ]),
  ],
  ['far too many items', formatCsrAttributes(Array.from({ length: 65 }, () => ({ oid: OID.challengePassword })))],
])('refuses %s', (_, der) => {
  expect(() => readCsrWishes(der)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
});
