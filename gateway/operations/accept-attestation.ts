import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parseCompactJws } from '#ca/pkix/compact-jws.ts';
import { bindEvidence } from '#ca/tpm2/qualifying-data.ts';
import { verifyCertifyEvidence } from '#ca/tpm2/verify-certify.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { parseNotice } from '#gateway/contract/notice.ts';
import type { AttestEvidence, NoticeAck } from '#gateway/contract/reports.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Store } from '#gateway/ports/store.ts';
import { orderRenewal } from './order-renewal.ts';
import type { QuarantineDeps } from './quarantine-device.ts';
import { refuseTpmErrors } from './refuse-tpm-error.ts';
import { releaseQuarantine } from './release-quarantine.ts';
import type { OpenedSession } from './session-records.ts';

type Proving = Pick<OpenedSession, 'deviceId' | 'serial' | 'address'>;

/**
 * Whether the answer to an `attest` notice holds: the key of this session's certificate, certified now by the TPM that
 * is on record for the device. A copy of its files cannot bring that.
 * @returns the acknowledgement as it is to be recorded, `failed` when the evidence does not hold
 */
export async function judgeAttestation(
  deps: Pick<QuarantineDeps, 'store' | 'clock' | 'log'>,
  session: Proving,
  { evidence, ...ack }: NoticeAck & { evidence: AttestEvidence },
): Promise<{ ack: NoticeAck; isProven: boolean }> {
  const { deviceId, serial, address } = session;
  const nonce = await findNonce(deps, deviceId, ack.noticeId);
  if (nonce === undefined) return { ack, isProven: false };
  try {
    await verifyEvidence(deps.store, session, { nonce, evidence });
    return { ack, isProven: ack.outcome === 'done' };
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    const { code, message } = error;
    deps.log.warn('the proof of a quarantined device does not hold', { deviceId, serial, address, code });
    return { ack: { ...ack, outcome: 'failed', detail: `${code}: ${message}`.slice(0, 500) }, isProven: false };
  }
}

/**
 * The session that has proved its key is the original's. The quarantine ends, and the device is told to renew: what
 * else holds its certificate then holds a superseded one.
 */
export async function nameOriginal(deps: QuarantineDeps, { deviceId, serial, address }: Proving): Promise<void> {
  const decision = `its TPM names the original: the session from ${address} with certificate ${serial}`;
  try {
    await releaseQuarantine(deps, { deviceId, decision, actor: 'gateway' });
    await orderRenewal(deps, { deviceId, actor: 'gateway', reason: 'the identity was copied: its key is replaced' });
  } catch (error) {
    // An operator was faster, one way or the other.
    if (!(error instanceof GatewayError)) throw error;
    deps.log.info('nothing left to release', { deviceId, code: error.code });
  }
}

/** @returns undefined when no such challenge is open */
async function findNonce(
  { store, clock }: Pick<QuarantineDeps, 'store' | 'clock'>,
  deviceId: DeviceId,
  noticeId: string,
): Promise<Buffer | undefined> {
  const open = await store.read.notices.listUnfinished(deviceId, clock.now());
  const record = open.find(({ id, kind }) => id === noticeId && kind === 'attest');
  const notice = record === undefined ? undefined : parseNotice(parseCompactJws(record.token).payload);
  return notice?.kind === 'attest' ? Buffer.from(notice.body.nonce, 'base64url') : undefined;
}

/** @throws GatewayError with the code of what is wrong with it */
async function verifyEvidence(
  { read }: Pick<Store, 'read'>,
  { deviceId, serial }: Proving,
  { nonce, evidence }: { nonce: Buffer; evidence: AttestEvidence },
): Promise<void> {
  const endorsement = await read.endorsements.find(deviceId);
  const certificate = await read.certificates.find(serial);
  if (endorsement === undefined || certificate === undefined) {
    throw new GatewayError('AK_NOT_CHALLENGED', 'no TPM is on record for this device', { subject: { deviceId } });
  }
  const spki = parseCertificate(certificate.der).publicKey;
  refuseTpmErrors(() =>
    verifyCertifyEvidence({
      ak: endorsement.akPublic,
      expectedAkName: Buffer.from(endorsement.akName, 'hex'),
      attested: Buffer.from(evidence.publicArea, 'base64'),
      attest: Buffer.from(evidence.attest, 'base64'),
      signature: Buffer.from(evidence.signature, 'base64'),
      qualifyingData: bindEvidence(nonce, spki),
      csrPublicKey: spki,
    }),
  );
}
