import { hash } from 'node:crypto';
import type { Certificate } from '#ca/pkix/certificate.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import {
  type EkTrust,
  type EndorsementFacts,
  judgeEkPath,
  parseEkCertificate,
  requireEkProfile,
  type TpmProofLevel,
} from '#gateway/domain/attestation/endorsement.ts';
import { GatewayError, type GatewayErrorCode } from '#gateway/domain/gateway-error.ts';
import type { Tables } from '#gateway/ports/store.ts';

type Read = Pick<Tables, 'ekAllowList' | 'tpmRoots' | 'endorsements'>;

export type EndorsementVerdict = {
  level: TpmProofLevel;
  /** Why it is not endorsed, when it is not. */
  shortfall: { code: GatewayErrorCode; why: string } | undefined;
};

/**
 * What an endorsement key is worth: on the allow list, or certified by a pinned maker, it is endorsed; any other one is
 * a TPM that says of itself that it is one.
 * @throws GatewayError EK_BELONGS_TO_ANOTHER when it is allowed for another device, EK_CERTIFICATE_MALFORMED,
 * EK_CERTIFICATE_NOT_FOR_EK
 */
export async function judgeEndorsement(
  read: Read,
  facts: EndorsementFacts,
  { deviceId, now }: { deviceId: DeviceId; now: number },
): Promise<EndorsementVerdict> {
  const allowed = await read.ekAllowList.find(facts.ekSha256);
  if (allowed !== undefined) {
    if (allowed.deviceId !== null && allowed.deviceId !== deviceId) {
      throw belongsToAnother(deviceId, `is allowed for "${allowed.deviceId}" alone`);
    }
    return { level: 'tpm-endorsed', shortfall: undefined };
  }
  if (facts.ekCertificate === null) {
    const why = 'the endorsement key has no certificate and is not on the allow list';
    return { level: 'tpm', shortfall: { code: 'EK_NOT_ALLOWED', why } };
  }
  const certificate = parseEkCertificate(facts.ekCertificate);
  requireEkProfile(certificate);
  const fault = judgeEkPath(certificate, await collectTrust(read, certificate, facts.ekChain), now);
  if (fault === undefined) return { level: 'tpm-endorsed', shortfall: undefined };
  const why = `the EK certificate does not lead to a TPM maker trusted here: ${fault.why}`;
  return { level: 'tpm', shortfall: { code: fault.code, why } };
}

/**
 * One TPM, one device; one device, one TPM: until an operator says otherwise.
 * @throws GatewayError EK_BELONGS_TO_ANOTHER, EK_CHANGED
 */
export async function requireOwnEk(
  tables: Pick<Tables, 'endorsements'>,
  deviceId: DeviceId,
  ekSha256: string,
): Promise<void> {
  const known = await tables.endorsements.find(deviceId);
  if (known?.ekSha256 === ekSha256) return;
  const holder = await tables.endorsements.findByEk(ekSha256);
  if (holder !== undefined) throw belongsToAnother(deviceId, `belongs to "${holder.deviceId}"`);
  if (known !== undefined) {
    throw new GatewayError(
      'EK_CHANGED',
      `this device has shown another TPM before; if its hardware was replaced: gatehouse device replace-hardware ${deviceId}`,
      { subject: { deviceId } },
    );
  }
}

/** Which one it is is for the operator; whoever asks is not told, see csr-refusals.ts. */
function belongsToAnother(deviceId: DeviceId, why: string): GatewayError {
  return new GatewayError('EK_BELONGS_TO_ANOTHER', `the endorsement key of this TPM ${why}`, { subject: { deviceId } });
}

/** Parsed once: a fleet has a few makers, and importing their keys again costs as much as checking a signature. */
const pinned = new Map<string, Certificate>();
const MAX_KEPT = 256;

function parsePinned(sha256: string, der: Buffer): Certificate {
  let certificate = pinned.get(sha256);
  if (certificate === undefined) {
    certificate = parseEkCertificate(der);
    if (pinned.size >= MAX_KEPT) pinned.clear();
    pinned.set(sha256, certificate);
  }
  return certificate;
}

/** Bounds the look-ups; a maker's path is shorter. */
const MAX_NAMES = 8;

/** The pinned certificates that may stand above this one: by name, upwards from it, so that no list is walked. */
async function collectTrust(read: Read, leaf: Certificate, chain: readonly Buffer[]): Promise<EkTrust> {
  const trust: EkTrust = { roots: [], intermediates: chain.map(parseEkCertificate) };
  const brought = [...trust.intermediates];
  const names = [leaf.issuer];
  const seen = new Set<string>();
  for (let name = names.shift(); name !== undefined && seen.size < MAX_NAMES; name = names.shift()) {
    const subject = name;
    const subjectSha256 = hash('sha256', subject, 'hex');
    if (seen.has(subjectSha256)) continue;
    seen.add(subjectSha256);
    for (const { kind, der, sha256 } of await read.tpmRoots.listBySubject(subjectSha256)) {
      const certificate = parsePinned(sha256, der);
      (kind === 'root' ? trust.roots : trust.intermediates).push(certificate);
      names.push(certificate.issuer);
    }
    for (const certificate of brought) if (certificate.subject.equals(subject)) names.push(certificate.issuer);
  }
  return trust;
}
