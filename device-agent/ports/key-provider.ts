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

export type KeyProviderName = 'software' | 'tpm';

/** Who a TPM says it is. All but the certificates is TPMT_PUBLIC. */
export type TpmIdentity = {
  /** DER; absent when the TPM carries none. */
  ekCertificate?: Buffer;
  /** Intermediates that the TPM carries, DER. */
  ekChain: Buffer[];
  ekPublic: Buffer;
  akPublic: Buffer;
};

/** What TPM2_Certify says of a key, without the size octets of TPM2B types. */
export type TpmEvidence = {
  /** TPMS_ATTEST */
  attest: Buffer;
  /** TPMT_SIGNATURE by the attestation key. */
  signature: Buffer;
  /** TPMT_PUBLIC of the certified key. */
  publicArea: Buffer;
};

/** The TPM's side of an attested enrollment. All fail with an AgentError that says what to do. */
export interface Attester {
  identify(): Promise<TpmIdentity>;
  /** TPM2_ActivateCredential. @returns the secret of the challenge. */
  activate(challenge: { credentialBlob: Buffer; encryptedSecret: Buffer }): Promise<Buffer>;
  /** @param pem of a key of this provider. */
  certify(pem: string, qualifyingData: Buffer): Promise<TpmEvidence>;
}

export interface KeyProvider {
  readonly name: KeyProviderName;
  /** Present when the provider can prove where its keys live. Then every request for a certificate carries that proof. */
  readonly attester?: Attester;
  /** How TLS reaches these keys when they are not simply in a PEM. */
  readonly tlsKeyAccess?: 'provider' | 'pkcs11';
  generate(kind: KeyKind): Promise<DeviceKey>;
  /** @throws when the PEM is no key of this provider. */
  load(pem: string): DeviceKey;
}
