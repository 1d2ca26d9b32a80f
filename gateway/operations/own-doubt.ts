import { isSerialNumber } from '#ca/pkix/serial-number.ts';
import type { CertificateRecord } from '#gateway/domain/certificate-record.ts';
import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { Tables } from '#gateway/ports/store.ts';
import type { Grounds } from './enrollment-grounds.ts';

type Read = Pick<Tables, 'enrollments' | 'certificates'>;

/** spkiSha256: of the key in the CSR. makers: of a maker's certificate, as in Grounds; left out: not looked at. */
export type Doubted = {
  by: Grounds['by'];
  makers?: readonly string[];
  device: Pick<Device, 'deviceId' | 'state'>;
  spkiSha256: string;
  now: number;
};

/**
 * Rights that never end are held back where a ticket, which a person made for this, is not: after an operator revoked
 * the device, while another key of it has a certificate on its way, and when a device of another maker, which numbers
 * them alike, has had this name.
 * @returns why a person has to decide, if one has to
 */
export async function ownDoubt(
  read: Read,
  { by, makers, device, spkiSha256, now }: Doubted,
): Promise<string | undefined> {
  if (by === 'ticket' || by === 'claim') return undefined;
  if (device.state === 'revoked') return 'an operator revoked this device';
  const { deviceId } = device;
  const isOther = (enrollment: Pick<Enrollment, 'spkiSha256' | 'serverKeyFor'>) =>
    enrollment.spkiSha256 !== spkiSha256 && enrollment.serverKeyFor !== spkiSha256;
  const underWay = await read.enrollments.listUnfinishedByDevice(deviceId);
  if (underWay.some(isOther)) return OTHER_KEY;
  const certificates = await read.certificates.listByDevice(deviceId);
  for (const { state, notAfter, enrollmentId } of certificates) {
    if (state !== 'pending' || notAfter < now || enrollmentId === null) continue;
    const enrollment = await read.enrollments.find(enrollmentId);
    if (enrollment?.kind === 'enroll' && isOther(enrollment)) return OTHER_KEY;
  }
  const [newest] = certificates;
  const before = newest === undefined ? undefined : await originOf(read, newest);
  const [kind, maker = ''] = before?.grounds?.split(':') ?? [];
  if (kind === 'manufacturer' && makers !== undefined && !makers.includes(maker)) return OTHER_MAKER;
  return undefined;
}

const OTHER_KEY = 'a certificate for another key of this device was issued and is not in use yet';
const OTHER_MAKER = 'this device came with the certificate of another maker before';

/** The first enrollment that a certificate goes back to, over any number of renewals. */
async function originOf(
  { certificates, enrollments }: Read,
  { enrollmentId, lineageId }: Pick<CertificateRecord, 'enrollmentId' | 'lineageId'>,
): Promise<Enrollment | undefined> {
  const first = isSerialNumber(lineageId) ? (await certificates.find(lineageId))?.enrollmentId : enrollmentId;
  return first == null ? undefined : enrollments.find(first);
}
