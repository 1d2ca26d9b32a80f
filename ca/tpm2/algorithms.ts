/** TPM_ALG_ID (TCG Algorithm Registry 6.1), those met here. */
export const ALGORITHM = {
  rsa: 0x0001,
  aes: 0x0006,
  nothing: 0x0010,
  rsassa: 0x0014,
  rsaes: 0x0015,
  rsapss: 0x0016,
  oaep: 0x0017,
  ecdsa: 0x0018,
  ecdh: 0x0019,
  ecc: 0x0023,
  cfb: 0x0043,
} as const;

/** Hash names are node:crypto's. SHA-1 is read so that it can be refused by name. */
export type TpmHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

type HashFacts = { id: number; bytes: number };

export const HASHES = {
  sha1: { id: 0x0004, bytes: 20 },
  sha256: { id: 0x000b, bytes: 32 },
  sha384: { id: 0x000c, bytes: 48 },
  sha512: { id: 0x000d, bytes: 64 },
} as const satisfies Record<TpmHash, HashFacts>;

export function hashOfId(id: number): TpmHash | undefined {
  switch (id) {
    case HASHES.sha1.id:
      return 'sha1';
    case HASHES.sha256.id:
      return 'sha256';
    case HASHES.sha384.id:
      return 'sha384';
    case HASHES.sha512.id:
      return 'sha512';
  }
  return undefined;
}

export type TpmCurve = 'P-256' | 'P-384' | 'P-521';

type CurveFacts = {
  /** TPM_ECC_CURVE (TCG Algorithm Registry 6.4). */
  id: number;
  /** Octets of a coordinate. */
  bytes: number;
  /** namedCurve of RFC 5480. */
  oid: string;
  /** OpenSSL's name. */
  openssl: string;
};

export const CURVES = {
  'P-256': { id: 0x0003, bytes: 32, oid: '1.2.840.10045.3.1.7', openssl: 'prime256v1' },
  'P-384': { id: 0x0004, bytes: 48, oid: '1.3.132.0.34', openssl: 'secp384r1' },
  'P-521': { id: 0x0005, bytes: 66, oid: '1.3.132.0.35', openssl: 'secp521r1' },
} as const satisfies Record<TpmCurve, CurveFacts>;

export function curveOfId(id: number): TpmCurve | undefined {
  switch (id) {
    case CURVES['P-256'].id:
      return 'P-256';
    case CURVES['P-384'].id:
      return 'P-384';
    case CURVES['P-521'].id:
      return 'P-521';
  }
  return undefined;
}
