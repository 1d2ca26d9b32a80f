/** Object identifiers by the name their document gives them. */
export const OID = {
  // Keys and signatures (RFC 8017, 5480, 8410)
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaesOaep: '1.2.840.113549.1.1.7',
  mgf1: '1.2.840.113549.1.1.8',
  rsassaPss: '1.2.840.113549.1.1.10',
  sha256WithRsaEncryption: '1.2.840.113549.1.1.11',
  sha384WithRsaEncryption: '1.2.840.113549.1.1.12',
  sha512WithRsaEncryption: '1.2.840.113549.1.1.13',
  ecPublicKey: '1.2.840.10045.2.1',
  prime256v1: '1.2.840.10045.3.1.7',
  secp384r1: '1.3.132.0.34',
  secp521r1: '1.3.132.0.35',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  ecdsaWithSha512: '1.2.840.10045.4.3.4',
  ed25519: '1.3.101.112',
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
  // Encrypted private keys (RFC 8018, 7914)
  pbes2: '1.2.840.113549.1.5.13',
  scrypt: '1.3.6.1.4.1.11591.4.11',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
  // Subject attributes (X.520)
  commonName: '2.5.4.3',
  surname: '2.5.4.4',
  serialNumber: '2.5.4.5',
  countryName: '2.5.4.6',
  localityName: '2.5.4.7',
  stateOrProvinceName: '2.5.4.8',
  streetAddress: '2.5.4.9',
  organizationName: '2.5.4.10',
  organizationalUnitName: '2.5.4.11',
  domainComponent: '0.9.2342.19200300.100.1.25',
  // Extensions (RFC 5280 4.2 and 5.2)
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  deltaCrlIndicator: '2.5.29.27',
  issuingDistributionPoint: '2.5.29.28',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  freshestCrl: '2.5.29.46',
  /** No status will ever be published of this certificate (RFC 9608 2). */
  noRevAvail: '2.5.29.56',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
  caIssuers: '1.3.6.1.5.5.7.48.2',
  ocsp: '1.3.6.1.5.5.7.48.1',
  ocspBasic: '1.3.6.1.5.5.7.48.1.1',
  ocspNonce: '1.3.6.1.5.5.7.48.1.2',
  ocspNoCheck: '1.3.6.1.5.5.7.48.1.5',
  // Extended key usages
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  ocspSigning: '1.3.6.1.5.5.7.3.9',
  cmcRa: '1.3.6.1.5.5.7.3.28',
  /** Ours, from a random UUID (X.667): a certificate with it signs notices to devices and is good for nothing else. */
  gatehouseNoticeSigner: '2.25.39168885299225097680806717534582045669',
  // TPM 2.0 (TCG EK Credential Profile; TPM 2.0 Keys for Device Identity and Attestation)
  tpmManufacturer: '2.23.133.2.1',
  tpmModel: '2.23.133.2.2',
  tpmVersion: '2.23.133.2.3',
  /** Extended key usage of an endorsement key certificate. */
  ekCertificate: '2.23.133.8.1',
  /** What TPM2_Certify states, as evidence in a CSR. */
  attestCertify: '2.23.133.20.1',
  /** Certificate policies: the key was shown to live in a TPM, and to be unable to leave it. */
  tpmResidencyVerified: '2.23.133.11.1.1',
  tpmFixedTpmVerified: '2.23.133.11.1.2',
  /** Ours, from a random UUID (X.667), a certificate policy: that TPM's endorsement key is one we were told to trust. */
  gatehouseTpmEndorsed: '2.25.139825788037211363300448920720595359436',
  // PKCS#9 attributes (RFC 2985, 7030)
  challengePassword: '1.2.840.113549.1.9.7',
  extensionRequest: '1.2.840.113549.1.9.14',
  /** Another name than that of the certificate being renewed (RFC 7030 4.2.2, RFC 6402 2.8). */
  changeSubjectName: '1.3.6.1.5.5.7.7.36',
  /** Which key the answer of a server that makes the key pair is to be encrypted with (RFC 4108 2.2.5, RFC 7030 4.4.1.2). */
  decryptKeyIdentifier: '1.2.840.113549.1.9.16.2.37',
  asymmetricDecryptKeyIdentifier: '1.2.840.113549.1.9.16.2.54',
  /** Attestation of the CSR's key (draft-ietf-lamps-csr-attestation). */
  aaAttestation: '1.2.840.113549.1.9.16.2.59',
  /** A PKCS#10 request partly filled in, among CSR attributes (RFC 9908 3.4). */
  certificationRequestInfoTemplate: '1.2.840.113549.1.9.16.2.61',
  extensionReqTemplate: '1.2.840.113549.1.9.16.2.62',
  // CMS (RFC 5652)
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
} as const;
