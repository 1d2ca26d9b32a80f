import type { KeyKind } from '#gateway/contract/operator-api.ts';

export type CsrSignatureAlgorithm = 'ecdsa-sha256' | 'ecdsa-sha384' | 'ed25519' | 'rsa-sha256';

/** A private key the device can use, wherever it lives. */
export interface DeviceKey {
  readonly kind: KeyKind;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  readonly signatureAlgorithm: CsrSignatureAlgorithm;
  /** PEM as it is stored and as TLS takes it: PKCS#8 for a software key, a handle for one kept in hardware. */
  readonly pem: string;
  /** @returns the signature as X.509 carries it. */
  sign(message: Uint8Array): Promise<Buffer>;
}

export interface KeyProvider {
  readonly name: 'software';
  generate(kind: KeyKind): Promise<DeviceKey>;
  /** @throws when the PEM is no key of this provider. */
  load(pem: string): DeviceKey;
}
