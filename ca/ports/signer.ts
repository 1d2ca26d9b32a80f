export type SignatureAlgorithm = 'ecdsa-sha256' | 'ecdsa-sha384' | 'ed25519' | 'rsa-sha256';

/** A private key that can sign, wherever it lives: a file today, PKCS#11 or a TPM behind the same three members. */
export interface Signer {
  readonly algorithm: SignatureAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  /** @returns the signature as X.509 carries it (ECDSA: DER SEQUENCE of r and s). */
  sign(message: Uint8Array): Promise<Buffer>;
}
