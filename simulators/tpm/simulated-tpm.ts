import { generateKeyPairSync, hash, type KeyObject, randomBytes, sign } from 'node:crypto';
import { formatCertifyAttest } from '#ca/tpm2/attest.ts';
import { ByteWriter } from '#ca/tpm2/byte-writer.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { formatPublicArea, nameOf } from '#ca/tpm2/public-area.ts';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { attestationKeyArea, deviceKeyArea } from '#ca/tpm2/templates.ts';
import { activateCredential } from './activate-credential.ts';
import { createEndorsementKey } from './endorsement-key.ts';
import type { SimulatedMaker } from './simulated-maker.ts';
import { TpmRefusal } from './tpm-refusal.ts';

type SimulatedKey = {
  /** TPMT_PUBLIC. */
  publicArea: Buffer;
  name: Buffer;
  /** SubjectPublicKeyInfo, DER. */
  spki: Buffer;
};

/** P-256. The private key is for TLS and the CSR: a real TPM would keep it and sign instead. */
export type SimulatedDeviceKey = SimulatedKey & { privateKey: KeyObject };

/** What the gateway sees of a TPM 2.0; only the maker's root tells it from a real one. Nothing here waits. */
export type SimulatedTpm = {
  /** DER. */
  ekCertificate: Buffer;
  /** TPMT_PUBLIC. */
  ekPublic: Buffer;
  ak: SimulatedKey;
  /**
   * @param credentialBlob TPM2B_ID_OBJECT. @param encryptedSecret TPM2B_ENCRYPTED_SECRET.
   * @throws TpmRefusal when it was made for another endorsement key or another attestation key
   */
  activateCredential: (credentialBlob: Buffer, encryptedSecret: Buffer) => Buffer;
  createDeviceKey: () => SimulatedDeviceKey;
  /**
   * TPM2_Certify by the attestation key. @throws TpmRefusal for a key of another TPM
   * @returns the bare TPMS_ATTEST and the signature in DER, both as evidence carries them
   */
  certify: (deviceKey: SimulatedDeviceKey, qualifyingData: Uint8Array) => { attest: Buffer; signature: Buffer };
};

export function createSimulatedTpm(maker: SimulatedMaker, options: { ek?: EndorsementKind } = {}): SimulatedTpm {
  const kind = options.ek ?? 'ec-p256';
  const ek = createEndorsementKey(kind);
  const ekUse = ek.publicArea.type === 'rsa' ? 'keyEncipherment' : 'keyAgreement';
  const { privateKey: akPrivate, ...ak } = createKey(attestationKeyArea);
  // The storage root key is never shown: its Name is part of the qualified Names and nothing else.
  const parent = qualifiedName(OWNER_HIERARCHY, nameLike(randomBytes(32)));
  const qualifiedSigner = qualifiedName(parent, ak.name);
  // Keys of the owner hierarchy see these obfuscated, so they look random (TPM 2.0 Part 1, 36.7).
  const boot = { resetCount: randomBytes(4).readUInt32BE(), restartCount: randomBytes(4).readUInt32BE() };
  const firmwareVersion = randomBytes(8).readBigUInt64BE();
  const bornAt = performance.now();
  const own = new WeakSet<SimulatedDeviceKey>();
  return {
    ekCertificate: maker.issueEkCertificate(formatSpki(ek.publicArea), ekUse),
    ekPublic: formatPublicArea(ek.publicArea),
    ak,
    activateCredential: (credentialBlob, encryptedSecret) =>
      activateCredential(kind, ek, ak.name, { credentialBlob, encryptedSecret }),
    createDeviceKey: () => {
      const key = createKey(deviceKeyArea);
      own.add(key);
      return key;
    },
    certify: (deviceKey, qualifyingData) => {
      if (!own.has(deviceKey)) throw new TpmRefusal('HANDLE', 'the key is not an object of this TPM');
      const attest = formatCertifyAttest({
        qualifiedSigner,
        extraData: Buffer.from(qualifyingData),
        clock: BigInt(Math.floor(performance.now() - bornAt)),
        ...boot,
        clockIsSafe: true,
        firmwareVersion,
        name: deviceKey.name,
        qualifiedName: qualifiedName(parent, deviceKey.name),
      });
      return { attest, signature: sign('sha256', attest, akPrivate) };
    },
  };
}

/** TPM_RH_OWNER. */
const OWNER_HIERARCHY = Buffer.from('40000001', 'hex');

function nameLike(digest: Buffer): Buffer {
  return new ByteWriter().u16(0x000b).bytes(digest).toBuffer();
}

/** TPM 2.0 Part 1, 16: the digest of the parent's qualified Name and the own Name. */
function qualifiedName(parent: Buffer, name: Buffer): Buffer {
  return nameLike(hash('sha256', Buffer.concat([parent, name]), 'buffer'));
}

/** Of a P-256 SubjectPublicKeyInfo, the point without its leading 04 is the end. */
const POINT_AT = 27;

function createKey(areaOf: typeof deviceKeyArea): SimulatedDeviceKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const area = areaOf({ x: spki.subarray(POINT_AT, POINT_AT + 32), y: spki.subarray(POINT_AT + 32) });
  return { publicArea: formatPublicArea(area), name: nameOf(area), spki, privateKey };
}
