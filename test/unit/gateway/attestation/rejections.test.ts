import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatCsr } from '#ca/pkix/csr.ts';
import { octetString, oid, sequence, setOf } from '#ca/pkix/der.ts';
import { formatName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { signMessage } from '#ca/pkix/signature-algorithm.ts';
import { formatCertifyAttest, parseCertifyAttest } from '#ca/tpm2/attest.ts';
import { formatPublicArea, nameOf, type PublicArea, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { attestationKeyArea, deviceKeyArea } from '#ca/tpm2/templates.ts';
import { parseDeviceId } from '#gateway/contract/device-id.ts';
import { createTpmChallenge } from '#gateway/operations/create-tpm-challenge.ts';
import { nodeRandomness } from '#gateway/runtime/node-randomness.ts';
import { createSimulatedMaker, type SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import type { SimulatedDeviceKey, SimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import {
  attestedCsr,
  certify,
  challenge,
  type Evidence,
  enrollWith,
  tpmOf,
  trustedMaker,
} from '#test/fixtures/gateway/attested-enrollment.ts';
import { ARRIVAL, changePolicy, openWorld, register, type World } from '#test/fixtures/gateway/operations-world.ts';

let world: World;
let maker: SimulatedMaker;
let tpm: SimulatedTpm;
let key: SimulatedDeviceKey;
let credentials: { deviceId: string; ticket: string };
let secret: Buffer;
beforeEach(async () => {
  world = await openWorld();
  maker = await trustedMaker(world);
  tpm = tpmOf(maker);
  key = tpm.createDeviceKey();
  credentials = { deviceId: 'press-07', ticket: await register(world, 'press-07') };
  secret = await challenge(world, tpm, credentials);
});
afterEach(() => world.close());

/** A key that no TPM ever held, in the shape of one. */
function softwareKey(areaOf: typeof attestationKeyArea) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const area = areaOf({ x: spki.subarray(27, 59), y: spki.subarray(59) });
  return { privateKey, spki, area, publicArea: formatPublicArea(area), name: nameOf(area) };
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at]! ^= 0x01;
  return copy;
}

function withAttribute(publicArea: Buffer, change: (area: PublicArea) => Partial<PublicArea>): Buffer {
  const area = parsePublicArea(publicArea);
  return formatPublicArea({ ...area, ...change(area) } as PublicArea);
}

type Row = [
  name: string,
  code: string,
  make: (honest: Evidence) => { evidence?: Evidence; csrKey?: SimulatedDeviceKey },
];

const ROWS: Row[] = [
  [
    'made with another nonce',
    'ATTESTATION_CHALLENGE_UNKNOWN',
    () => ({ evidence: certify(tpm, key, randomBytes(32)) }),
  ],
  [
    'whose TPMT_PUBLIC was given other attributes',
    'ATTESTED_KEY_DIFFERS',
    (honest) => ({
      evidence: {
        ...honest,
        publicArea: withAttribute(honest.publicArea, ({ attributes }) => ({
          attributes: new Set([...attributes].filter((attribute) => attribute !== 'userWithAuth')),
        })),
      },
    }),
  ],
  [
    'whose TPMT_PUBLIC holds no point of the curve',
    'TPM_KEY_UNREADABLE',
    (honest) => ({ evidence: { ...honest, publicArea: flipped(honest.publicArea, -1) } }),
  ],
  [
    'about a key of another TPM',
    'ATTESTED_KEY_DIFFERS',
    () => {
      const other = tpmOf(maker).createDeviceKey();
      const lent = tpm.certify(key, bindEvidence(secret, other.spki));
      return { evidence: { ...lent, publicArea: other.publicArea }, csrKey: other };
    },
  ],
  [
    'made by the attestation key of another TPM',
    'ATTESTATION_SIGNATURE_INVALID',
    () => {
      const other = tpmOf(maker);
      const otherKey = other.createDeviceKey();
      return { evidence: certify(other, otherKey, secret), csrKey: otherKey };
    },
  ],
  [
    'signed by a software attestation key swapped in for the second round trip',
    'ATTESTATION_SIGNATURE_INVALID',
    (honest) => {
      const ak = softwareKey(attestationKeyArea);
      return { evidence: { ...honest, signature: sign('sha256', honest.attest, ak.privateKey) } };
    },
  ],
  [
    'about another key than the CSR',
    'ATTESTED_KEY_NOT_OF_CSR',
    (honest) => ({ evidence: honest, csrKey: tpm.createDeviceKey() }),
  ],
  [
    'with a flipped bit in the signature',
    'ATTESTATION_SIGNATURE_INVALID',
    (honest) => ({ evidence: { ...honest, signature: flipped(honest.signature, -1) } }),
  ],
  [
    'whose magic is not that of a TPM',
    'ATTESTATION_NOT_FROM_TPM',
    (honest) => ({ evidence: { ...honest, attest: flipped(honest.attest, 0) } }),
  ],
  [
    'that is a quote',
    'ATTESTATION_OF_ANOTHER_KIND',
    (honest) => {
      const attest = Buffer.from(honest.attest);
      attest.writeUInt16BE(0x8018, 4);
      return { evidence: { ...honest, attest } };
    },
  ],
  [
    'with octets after its end',
    'ATTESTATION_MALFORMED',
    (honest) => ({ evidence: { ...honest, attest: Buffer.concat([honest.attest, Buffer.of(0)]) } }),
  ],
];

/** A challenge for an attestation key of our making, opened by reading it where the gateway keeps it. */
async function secretFor(akPublic: Buffer): Promise<Buffer> {
  await createTpmChallenge(world, order({ akPublic, ekCertificate: tpm.ekCertificate }));
  const challenges = await world.store.read.challenges.listByDevice(parseDeviceId(credentials.deviceId));
  return challenges.find((made) => made.akPublic.equals(akPublic))!.secret;
}

describe('the gateway refuses evidence', () => {
  it.each(ROWS)('%s: %s', async (_, code, make) => {
    const { evidence, csrKey = key } = make(certify(tpm, key, secret));
    const csr = await attestedCsr(csrKey, evidence);
    // Wrong evidence refuses also where the group would take a software key.
    await expect(enrollWith(world, credentials, csr)).rejects.toMatchObject({ code });
    const [refusal] = await world.store.read.audit.list({ limit: 1, action: 'enrollment.refused' });
    expect(refusal).toMatchObject({ code, subject: 'press-07' });
    // Nothing was used up: the honest device goes on.
    await enrollWith(world, credentials, await attestedCsr(key, certify(tpm, key, secret)));
  });

  it('honestly made about a key that may leave its TPM', async () => {
    // What a real TPM certifies for a duplicable key: the AK of the simulated one is lent for it.
    const duplicable = softwareKey((point) => ({
      ...deviceKeyArea(point),
      attributes: new Set(['sign', 'userWithAuth']),
    }));
    const ak = softwareKey(attestationKeyArea);
    const mine = await secretFor(ak.publicArea);
    const honest = parseCertifyAttest(certify(tpm, key, mine).attest);
    const attest = formatCertifyAttest({
      ...honest,
      extraData: bindEvidence(mine, duplicable.spki),
      name: duplicable.name,
    });
    const evidence = { attest, signature: sign('sha256', attest, ak.privateKey), publicArea: duplicable.publicArea };
    const csr = await attestedCsr(duplicable, evidence);
    await expect(enrollWith(world, credentials, csr)).rejects.toMatchObject({ code: 'ATTESTED_KEY_NOT_BOUND' });
  });

  it('in an attribute with a third field, without TPMT_PUBLIC, or of an unknown type', async () => {
    const { attest, signature, publicArea } = certify(tpm, key, secret);
    const three = sequence(octetString(attest), octetString(signature), octetString(publicArea));
    const two = sequence(octetString(attest), octetString(signature));
    const statements = [
      sequence(oid(OID.attestCertify), three, octetString(Buffer.from('hint'))),
      sequence(oid(OID.attestCertify), two),
      sequence(oid(OID.commonName), three),
    ];
    for (const statement of statements) {
      const attribute = sequence(oid(OID.aaAttestation), setOf(sequence(sequence(statement))));
      const csr = await formatCsr({
        subject: formatName({}),
        publicKey: key.spki,
        attributes: [attribute],
        signatureAlgorithm: 'ecdsa-sha256',
        sign: (message) => signMessage('ecdsa-sha256', message, key.privateKey),
      });
      await expect(enrollWith(world, credentials, csr)).rejects.toMatchObject({ code: 'ATTESTATION_MALFORMED' });
    }
  });
});

type Asked = { ekCertificate?: Buffer; ekPublic?: Buffer; akPublic?: Buffer };

function order({ akPublic = tpm.ak.publicArea, ...rest }: Asked) {
  return {
    attemptId: nodeRandomness.id('a'),
    ...ARRIVAL,
    credentials: { by: 'ticket' as const, ...credentials },
    ekChain: [],
    akPublic,
    ...rest,
  };
}

function notRestricted(): Buffer {
  return withAttribute(tpm.ak.publicArea, ({ attributes }) => ({
    attributes: new Set([...attributes].filter((attribute) => attribute !== 'restricted')),
  }));
}

describe('the gateway makes no challenge', () => {
  it.each<[string, string, () => Asked]>([
    [
      'for the EK certificate of an unknown maker',
      'EK_CERTIFICATE_UNTRUSTED',
      () => ({ ekCertificate: tpmOf(createSimulatedMaker()).ekCertificate }),
    ],
    ['without an EK', 'REQUEST_INVALID', () => ({})],
    [
      'for bytes that are no certificate',
      'EK_CERTIFICATE_MALFORMED',
      () => ({ ekCertificate: Buffer.concat([tpm.ekCertificate, Buffer.alloc(3)]) }),
    ],
    ['for the certificate of a CA', 'EK_CERTIFICATE_NOT_FOR_EK', () => ({ ekCertificate: maker.issuerCertificate })],
    [
      'for certificate and public area of two EKs',
      'EK_MISMATCH',
      () => ({ ekCertificate: tpm.ekCertificate, ekPublic: tpmOf(maker).ekPublic }),
    ],
    ['for a signing key as EK', 'EK_UNSUPPORTED', () => ({ ekPublic: tpm.ak.publicArea })],
    ['for an EK that nobody vouches for', 'EK_NOT_ALLOWED', () => ({ ekPublic: tpm.ekPublic })],
    [
      'for an attestation key that signs anything',
      'AK_NOT_RESTRICTED',
      () => ({ ekCertificate: tpm.ekCertificate, akPublic: notRestricted() }),
    ],
    [
      'for an attestation key that cannot be read',
      'TPM_KEY_UNREADABLE',
      () => ({ ekCertificate: tpm.ekCertificate, akPublic: Buffer.from('no key') }),
    ],
  ])('%s: %s', async (_, code, ask) => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    await expect(createTpmChallenge(world, order(ask()))).rejects.toMatchObject({ code });
  });

  it('for an EK certificate outside its dates', async () => {
    await changePolicy(world, { proof: 'tpm-endorsed' });
    world.clock.at -= 3 * 24 * 3600_000;
    const early = { by: 'ticket' as const, deviceId: 'press-08', ticket: await register(world, 'press-08') };
    await expect(
      createTpmChallenge(world, { ...order({ ekCertificate: tpm.ekCertificate }), credentials: early }),
    ).rejects.toMatchObject({ code: 'EK_CERTIFICATE_EXPIRED' });
  });
});
