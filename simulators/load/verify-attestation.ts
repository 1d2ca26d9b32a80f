import { randomBytes, timingSafeEqual } from 'node:crypto';
import { parseAttestationAttribute } from '#ca/pkix/attestation-attribute.ts';
import { type Certificate, parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCsr, verifyCsrSignature } from '#ca/pkix/csr.ts';
import { OID } from '#ca/pkix/oids.ts';
import { validatePath } from '#ca/pkix/path.ts';
import { parseCertifyAttest } from '#ca/tpm2/attest.ts';
import { makeCredential } from '#ca/tpm2/make-credential.ts';
import { nameOf, parsePublicArea } from '#ca/tpm2/public-area.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { endorsementAreaOf } from '#ca/tpm2/templates.ts';
import { checkAttestationKey, verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import type { SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { type AttestedDevice, formatAttestedCsr } from './attested-device.ts';

/** What a gateway gets of one device in both round trips, made beforehand. */
export type AttestationSample = { ekCertificate: Buffer; akPublic: Buffer; secret: Buffer; csr: Buffer };

export async function makeSample(device: AttestedDevice): Promise<AttestationSample> {
  const secret = randomBytes(32);
  const { ekCertificate, ak } = device.tpm;
  return { ekCertificate, akPublic: ak.publicArea, secret, csr: await formatAttestedCsr(device, secret) };
}

/**
 * The whole of what a gateway computes for one attested enrollment, by the same functions of `ca` in the same order, and
 * nothing else: no TLS, no database, no certificate. @throws Error of the check that fails
 */
export function verifyAttestation(
  { ekCertificate, akPublic, secret, csr }: AttestationSample,
  trust: { root: Certificate; maker: SimulatedMaker; now: number },
): void {
  // Round trip 1: the EK certificate leads to the maker, the AK is one, and only this TPM can open the secret.
  const certificate = parseCertificate(ekCertificate);
  validatePath(certificate, {
    anchors: [trust.root],
    intermediates: [parseCertificate(trust.maker.issuerCertificate)],
    at: trust.now,
    extendedKeyUsage: OID.ekCertificate,
  });
  const ak = parsePublicArea(akPublic, 'the attestation key');
  checkAttestationKey(ak);
  const akName = nameOf(ak);
  makeCredential({ ekPublic: endorsementAreaOf(certificate.publicKey), akName, secret, random: randomBytes });

  // Round trip 2: possession of the key, and the evidence about it.
  const request = parseCsr(csr);
  if (!verifyCsrSignature(request)) throw new Error('the CSR is not signed by its key');
  const attestation = parseAttestationAttribute(request.attributes);
  if (attestation === undefined) throw new Error('the CSR carries no attestation');
  const { extraData } = parseCertifyAttest(attestation.attest);
  if (!timingSafeEqual(extraData, bindEvidence(secret, request.publicKey))) throw new Error('it answers no challenge');
  verifyCertifyEvidence({
    ak: akPublic,
    expectedAkName: akName,
    attested: attestation.publicArea,
    attest: attestation.attest,
    signature: attestation.signature,
    qualifyingData: extraData,
    csrPublicKey: request.publicKey,
  });
}
