import * as pkijs from 'pkijs';
import { describe, expect, it } from 'vitest';
import { formatCertsOnly, parseCertsOnly } from '#ca/pkix/cms.ts';
import { explicit, implicit, integer, oid, sequence, setOf } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { makeIntermediate, makeRoot } from '#test/fixtures/ca/certificates.ts';

const root = makeRoot();
const certificates = [makeIntermediate(root).certificate.der, root.certificate.der];

/** The fields one after the other, to be spoilt. */
function message(fields: Buffer[], contentType: string = OID.signedData): Buffer {
  return sequence(oid(contentType), explicit(0, sequence(...fields)));
}
const carried = implicit(0, Buffer.concat(certificates), { constructed: true });
const version = integer(1);
const noContent = sequence(oid(OID.data));

describe('certs-only messages', () => {
  it('have the octets of RFC 5272 4.1', () => {
    const der = formatCertsOnly([certificates[1] ?? Buffer.alloc(0)]).toString('hex');
    expect(der).toMatch(/^3082....06092a864886f70d010702a082....3082....0201013100300b06092a864886f70d010701a082/);
    expect(der).toMatch(/3100$/);
  });

  it('are read back', () => {
    expect(parseCertsOnly(formatCertsOnly(certificates))).toEqual(certificates);
  });

  it('are read by pkijs', () => {
    const content = pkijs.ContentInfo.fromBER(formatCertsOnly(certificates));
    const signedData = new pkijs.SignedData({ schema: content.content });
    const read = signedData.certificates?.map((certificate) =>
      Buffer.from((certificate as pkijs.Certificate).toSchema().toBER()),
    );
    expect(read).toEqual(certificates);
    expect(signedData.signerInfos).toEqual([]);
  });

  it('may have an empty CRL field', () => {
    expect(
      parseCertsOnly(
        message([version, setOf(), noContent, carried, implicit(1, Buffer.alloc(0), { constructed: true }), setOf()]),
      ),
    ).toEqual(certificates);
  });

  it.each([
    ['content', message([version, setOf(), sequence(oid(OID.data), explicit(0, integer(1))), carried, setOf()])],
    ['a digest algorithm', message([version, setOf(sequence(oid(OID.sha256))), noContent, carried, setOf()])],
    ['a signer', message([version, setOf(), noContent, carried, setOf(sequence())])],
    ['no certificates', message([version, setOf(), noContent, setOf()])],
    [
      'an empty list of certificates',
      message([version, setOf(), noContent, implicit(0, Buffer.alloc(0), { constructed: true }), setOf()]),
    ],
    [
      'an attribute certificate',
      message([
        version,
        setOf(),
        noContent,
        implicit(0, implicit(2, Buffer.alloc(0), { constructed: true }), { constructed: true }),
        setOf(),
      ]),
    ],
    ['a CRL', message([version, setOf(), noContent, carried, implicit(1, sequence(), { constructed: true }), setOf()])],
    ['version 3', message([integer(3), setOf(), noContent, carried, setOf()])],
    ['a field too many', message([version, setOf(), noContent, carried, setOf(), setOf()])],
    ['another content type', message([version, setOf(), noContent, carried, setOf()], OID.data)],
  ])('are refused with %s', (_what, der) => {
    expect(() => parseCertsOnly(der)).toThrow(PkixError);
  });
});
