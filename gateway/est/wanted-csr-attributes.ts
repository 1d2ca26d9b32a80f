import { type CsrAttribute, formatCsrAttributes } from '#ca/pkix/csr-attributes.ts';
import { type Der, printableString } from '#ca/pkix/der.ts';
import { OID } from '#ca/pkix/oids.ts';
import { formatRequestTemplate } from '#ca/pkix/request-template.ts';
import { keyAttribute, wantedKeyOf } from '#ca/pkix/wanted-key.ts';
import { type GroupPolicy, KEY_KINDS, type KeyKind } from '#gateway/contract/operator-api.ts';

const SIGNATURES: Record<KeyKind, string> = {
  'ec-p256': OID.ecdsaWithSha256,
  'ec-p384': OID.ecdsaWithSha384,
  ed25519: OID.ed25519,
  'rsa-2048': OID.sha256WithRsaEncryption,
  'rsa-3072': OID.sha256WithRsaEncryption,
  'rsa-4096': OID.sha256WithRsaEncryption,
};

/**
 * What a CSR for a group should have, said twice: as single items for clients that know no more (RFC 9908 3.2), and as
 * a template, which one that knows it heeds alone (RFC 9908 4). Of several kinds of keys that the group allows the
 * first of KEY_KINDS is named: there is no way to offer a choice. No subject and no extensions are asked for, since
 * names come from the device's record and none from the CSR is taken over.
 */
export function wantedCsrAttributes(policy: Pick<GroupPolicy, 'keys' | 'binding' | 'proof'>): Der {
  const kind = KEY_KINDS.find((candidate) => policy.keys.includes(candidate)) ?? 'ec-p256';
  const isBound = policy.binding === 'required';
  const items: CsrAttribute[] = [
    // RFC 7030 4.5.2: its bare OID says that the CSR must be bound to the TLS session.
    ...(isBound ? [{ oid: OID.challengePassword }] : []),
    keyAttribute(wantedKeyOf(kind)),
    ...(policy.proof === 'software' ? [] : [{ oid: OID.aaAttestation }]),
    { oid: SIGNATURES[kind] },
  ];
  const template = formatRequestTemplate({
    key: wantedKeyOf(kind),
    // Empty, for the client to fill in: the value is another one in each session.
    attributes: isBound ? [{ oid: OID.challengePassword, values: [printableString('')] }] : [],
  });
  return formatCsrAttributes([...items, { oid: OID.certificationRequestInfoTemplate, values: [template] }]);
}
