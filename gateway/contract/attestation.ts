import { EST_BASE_PATH } from './est.ts';

/**
 * Attested enrollment in two round trips beside EST. Both are authenticated as the enrollment is: HTTP Basic
 * `deviceId:ticket` first, the current certificate later.
 *
 * 1. POST TPM_CHALLENGE_PATH: the device shows its EK and its AK, the gateway answers a credential that only a TPM
 *    holding both can open (TPM2_MakeCredential / TPM2_ActivateCredential).
 * 2. simpleenroll or simplereenroll: the CSR carries the attestation attribute (id-aa-attestation) with TPM2_Certify
 *    evidence whose qualifying data binds the opened secret and the key of the CSR.
 *
 * A device whose AK the gateway knows already may take a nonce (NONCE_PATH) in place of the first round trip.
 */
export const TPM_CHALLENGE_PATH = `${EST_BASE_PATH}/tpm-challenge`;

/** draft-ietf-lamps-attestation-freshness: GET, or POST {"len": 8..64}; the nonce is good for this TLS session only. */
export const NONCE_PATH = `${EST_BASE_PATH}/nonce`;
export const NONCE_CONTENT_TYPE = 'application/est-attestation-freshness+json';

/** All binary fields are base64 (RFC 4648 section 4). */
export type TpmChallengeRequest = {
  version: 1;
  /** EK certificate, DER. Absent: the EK must be on the allow list by its public key. */
  ekCertificate?: string;
  /** Intermediates of the EK certificate the device holds, DER. */
  ekChain?: string[];
  /** TPMT_PUBLIC of the EK; required when there is no certificate. */
  ekPublic?: string;
  /** TPMT_PUBLIC of the AK. */
  akPublic: string;
};

export type TpmChallengeAnswer = {
  version: 1;
  challengeId: string;
  /** TPM2B_ID_OBJECT. */
  credentialBlob: string;
  /** TPM2B_ENCRYPTED_SECRET. */
  encryptedSecret: string;
  /** Seconds until it is void. */
  expiresIn: number;
};

/** Largest request body, in bytes: an EK certificate and a few intermediates. */
export const MAX_TPM_CHALLENGE_BYTES = 64 * 1024;
