/** The key and certificate that OCSP answers are signed with (RFC 6960 4.2.2.2): of one issuer, for its certificates. */
export interface OcspSigner {
  /** Of the responder, DER. */
  readonly certificate: Buffer;
  /** SHA-1 of its public key, which is its name in answers. */
  readonly keyHash: Buffer;
  /** Milliseconds UTC; no answer is good for longer. */
  readonly notAfter: number;
  /** AlgorithmIdentifier, DER. */
  readonly signatureAlgorithm: Buffer;
  /** @returns as X.509 carries it */
  sign(message: Uint8Array): Buffer;
}
