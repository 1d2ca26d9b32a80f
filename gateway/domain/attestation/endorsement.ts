import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { readDer, sequence, TAG } from '#ca/pkix/der.ts';
import { DerFields, onlyChild, readOid, readText } from '#ca/pkix/der-values.ts';
import { parseName } from '#ca/pkix/name.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import { describePublicKey, type KeyKind, spkiSha256 } from '#ca/pkix/public-key.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { ProofLevel } from '#gateway/contract/operator-api.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';

export type TpmProofLevel = Exclude<ProofLevel, 'software'>;

/** What a device showed of its endorsement key. */
export type EndorsementFacts = {
  /** SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal: what the EK is known by, with or without certificate. */
  ekSha256: string;
  /** DER. */
  ekCertificate: Buffer | null;
  /** Intermediates the device brought along, DER; needed again when the certificate is judged again. */
  ekChain: readonly Buffer[];
};

/** The TPM a device has proved to hold: the first one, until an operator says that the hardware was replaced. */
export type Endorsement = EndorsementFacts & {
  deviceId: DeviceId;
  /** Name of the AK, lower-case hexadecimal. */
  akName: string;
  /** TPMT_PUBLIC. */
  akPublic: Buffer;
  proofLevel: TpmProofLevel;
  firstSeen: number;
  updatedAt: number;
};

export type TpmMaker = { manufacturer: string; model: string | null; version: string | null };

/** Makers have longer paths than we: EK, up to five intermediates, root. */
const MAX_EK_PATH = 7;

/** @throws GatewayError EK_CERTIFICATE_MALFORMED */
export function parseEkCertificate(der: Buffer): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    const why = cause instanceof PkixError ? cause.message : 'it cannot be read';
    throw new GatewayError('EK_CERTIFICATE_MALFORMED', `the EK certificate is not one: ${why}`, { cause });
  }
}

/**
 * The profile of an EK certificate (TCG EK Credential Profile 2.5, 3.1): made for an endorsement key and nothing else.
 * @throws GatewayError EK_CERTIFICATE_MALFORMED, EK_CERTIFICATE_NOT_FOR_EK
 */
export function requireEkProfile(certificate: Certificate): TpmMaker {
  if (certificate.isCa) throw notForEk('it is the certificate of a CA');
  if (certificate.extendedKeyUsage?.includes(OID.ekCertificate) !== true)
    throw notForEk(`it lacks the key purpose ${OID.ekCertificate}`);
  // An EK decrypts: keyEncipherment for RSA, keyAgreement for ECC; makers mix the two up.
  const { keyUsage } = certificate;
  if (keyUsage?.has('keyEncipherment') !== true && keyUsage?.has('keyAgreement') !== true)
    throw notForEk('its key is not for decryption');
  if (keyUsage.has('keyCertSign')) throw notForEk('its key signs certificates');
  const maker = readTpmMaker(certificate);
  if (maker === undefined) throw notForEk('its subjectAltName does not name a TPM manufacturer');
  return maker;
}

function notForEk(why: string): GatewayError {
  return new GatewayError('EK_CERTIFICATE_NOT_FOR_EK', `this is no EK certificate: ${why}`);
}

const DIRECTORY_NAME = 0xa4;

/** From the directoryName in subjectAltName. @returns undefined when there is none, or it cannot be read. */
export function readTpmMaker(certificate: Pick<Certificate, 'subjectAltName'>): TpmMaker | undefined {
  if (certificate.subjectAltName === undefined) return undefined;
  try {
    const found = new Map<string, string>();
    for (const name of readDer(certificate.subjectAltName).children()) {
      if (name.tag !== DIRECTORY_NAME) continue;
      for (const { type, value } of parseName(onlyChild(name, 'a directoryName'), 'a directoryName').flat()) {
        const text = readText(value, 'a TPM attribute');
        if (text !== undefined) found.set(type, text.slice(0, 64));
      }
    }
    const manufacturer = found.get(OID.tpmManufacturer);
    if (manufacturer === undefined) return undefined;
    return { manufacturer, model: found.get(OID.tpmModel) ?? null, version: found.get(OID.tpmVersion) ?? null };
  } catch {
    // What a maker wrote there is for people; it decides nothing.
    return undefined;
  }
}

export type EkTrust = {
  /** Pinned by an operator. */
  roots: Certificate[];
  /** Pinned, or brought by the device: trusted only for the path they make. */
  intermediates: Certificate[];
};

/**
 * Does the path lead to a pinned maker? notAfter 9999-12-31 is a date like any other (RFC 8995 2.3.1); a critical
 * subjectAltName is understood. Lists of revoked EK certificates are not fetched: a maker's revocation has to be
 * followed by removing the root or revoking the devices.
 * @param now milliseconds UTC @returns why not, or undefined when it does
 */
export function judgeEkPath(
  certificate: Certificate,
  { roots, intermediates }: EkTrust,
  now: number,
): { code: 'EK_CERTIFICATE_UNTRUSTED' | 'EK_CERTIFICATE_EXPIRED'; why: string } | undefined {
  try {
    validatePath(certificate, {
      anchors: roots,
      intermediates,
      at: now,
      extendedKeyUsage: OID.ekCertificate,
      maxCertificates: MAX_EK_PATH,
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof PkixError)) throw error;
    const code = error.code === 'OUT_OF_VALIDITY' ? 'EK_CERTIFICATE_EXPIRED' : 'EK_CERTIFICATE_UNTRUSTED';
    return { code, why: error.message };
  }
}

/**
 * The key in the one encoding that we hash and encrypt for. Some makers wrote RSA keys under id-RSAES-OAEP
 * (RFC 4055 4.1), which OpenSSL does not read; the key inside is the same.
 * @throws GatewayError EK_CERTIFICATE_MALFORMED, EK_UNSUPPORTED
 */
export function ekPublicKeyOf(certificate: Pick<Certificate, 'publicKey'>): Buffer {
  try {
    const fields = new DerFields(readDer(certificate.publicKey), 'the EK');
    const [algorithm] = fields.take(TAG.sequence, 'its algorithm').children();
    const key = fields.take(TAG.bitString, 'its key');
    const isOaep = algorithm !== undefined && readOid(algorithm, 'the algorithm of the EK') === OID.rsaesOaep;
    const spki = isOaep ? sequence(RSA_ENCRYPTION, key.raw) : certificate.publicKey;
    const { kind, description } = describePublicKey(spki);
    if (kind === undefined || !EK_KINDS.includes(kind)) {
      throw new GatewayError('EK_UNSUPPORTED', `the EK is ${description}, not RSA-2048, P-256 or P-384`);
    }
    return spki;
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    throw new GatewayError('EK_CERTIFICATE_MALFORMED', 'the key in the EK certificate cannot be read', { cause });
  }
}

export function ekSha256Of(spki: Buffer): string {
  return spkiSha256(spki);
}

const EK_KINDS: readonly KeyKind[] = ['rsa-2048', 'ec-p256', 'ec-p384'];
const RSA_ENCRYPTION = sequence(Buffer.from('06092a864886f70d010101', 'hex'), Buffer.from('0500', 'hex'));
