import type { DeviceId } from '#gateway/contract/device-id.ts';
import type {
  CertificateSummary,
  DeviceDetail,
  DeviceState,
  DeviceSummary,
  DeviceTpm,
  Page,
} from '#gateway/contract/operator-api.ts';
import { type Endorsement, parseEkCertificate, readTpmMaker } from '#gateway/domain/attestation/endorsement.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import { GatewayError } from '#gateway/domain/gateway-error.ts';
import type { Broker } from '#gateway/ports/broker.ts';
import type { Store } from '#gateway/ports/store.ts';
import { lastRolledBack } from './note-rolled-back.ts';

export type ReadDeps = { store: Pick<Store, 'read'>; broker: Broker };

export async function listDevices(
  deps: ReadDeps,
  query: { after?: string | undefined; limit: number; group?: string; state?: DeviceState },
): Promise<Page<DeviceSummary>> {
  const devices = await deps.store.read.devices.list(query);
  const items = await Promise.all(
    devices.map(async ({ deviceId, group, state, proofLevel, owner }) => {
      const certificates = await deps.store.read.certificates.listByDevice(deviceId);
      const active = certificates.find((certificate) => certificate.state === 'active');
      const connected = deps.broker.sessionsOf(deviceId).length > 0;
      return { deviceId, group, state, proofLevel, connected, notAfter: active?.notAfter ?? null, owner };
    }),
  );
  return page(items, query.limit, (item) => item.deviceId);
}

/** @throws GatewayError NOT_FOUND */
export async function showDevice(deps: ReadDeps, deviceId: DeviceId): Promise<DeviceDetail> {
  const { read } = deps.store;
  const device = await read.devices.find(deviceId);
  if (device === undefined) throw new GatewayError('NOT_FOUND', `no device "${deviceId}" is registered`);
  const [certificates, record, notices, endorsement] = await Promise.all([
    read.certificates.listByDevice(deviceId),
    read.sessions.find(deviceId),
    read.notices.listByDevice(deviceId, 20),
    read.endorsements.find(deviceId),
  ]);
  // The session table of the process says who is connected; the database only remembers.
  const live = deps.broker.sessionsOf(deviceId)[0];
  const { group, state, proofLevel, owner, hardwareSerial, createdAt } = device;
  return {
    deviceId,
    group,
    state,
    proofLevel,
    owner,
    hardwareSerial,
    createdAt,
    tpm: endorsement === undefined ? null : summariseTpm(endorsement),
    certificates: certificates.map(summarise),
    session: live === undefined ? null : { since: live.since, address: live.address, serial: live.serial },
    lastSession: record?.last ?? null,
    notices: notices.map(({ id, kind, seq, state }) => ({ id, kind, seq, state })),
    rolledBack: lastRolledBack(device) ?? null,
  };
}

function summariseTpm(endorsement: Endorsement): DeviceTpm {
  const { ekSha256, ekCertificate, proofLevel, akName, firstSeen, updatedAt } = endorsement;
  const maker = ekCertificate === null ? undefined : readTpmMaker(parseEkCertificate(ekCertificate));
  return { ekSha256, maker: maker ?? null, proofLevel, akName, firstSeen, updatedAt };
}

export function summarise(certificate: CertificateRecord): CertificateSummary {
  const { serial, state, profile, notBefore, notAfter, renewFrom, sha256 } = certificate;
  return { serial, state, profile, notBefore, notAfter, renewFrom, sha256 };
}

/** A full page may have more behind it: its last key is where the next one starts. */
export function page<T>(items: T[], limit: number, keyOf: (item: T) => string): Page<T> {
  const last = items.at(-1);
  return { items, nextCursor: last !== undefined && items.length >= limit ? keyOf(last) : null };
}
