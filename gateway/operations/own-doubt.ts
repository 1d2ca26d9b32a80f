import type { Device } from '#gateway/domain/device.ts';
import type { Enrollment } from '#gateway/domain/enrollment.ts';
import type { Tables } from '#gateway/ports/store.ts';
import type { Grounds } from './enrollment-grounds.ts';

/**
 * Rights that never end are held back where a ticket, which a person made for this, is not: after an operator revoked
 * the device, and while another key of it has a certificate on its way.
 * @param applicant.spkiSha256 of the key in the CSR @returns why a person has to decide, if one has to
 */
export async function ownDoubt(
  read: Pick<Tables, 'enrollments' | 'certificates'>,
  {
    by,
    device,
    spkiSha256,
    now,
  }: { by: Grounds['by']; device: Pick<Device, 'deviceId' | 'state'>; spkiSha256: string; now: number },
): Promise<string | undefined> {
  if (by === 'ticket' || by === 'claim') return undefined;
  if (device.state === 'revoked') return 'an operator revoked this device';
  const { deviceId } = device;
  const isOther = (enrollment: Pick<Enrollment, 'spkiSha256' | 'serverKeyFor'>) =>
    enrollment.spkiSha256 !== spkiSha256 && enrollment.serverKeyFor !== spkiSha256;
  const underWay = await read.enrollments.listUnfinishedByDevice(deviceId);
  if (underWay.some(isOther)) return OTHER_KEY;
  for (const { state, notAfter, enrollmentId } of await read.certificates.listByDevice(deviceId)) {
    if (state !== 'pending' || notAfter < now || enrollmentId === null) continue;
    const enrollment = await read.enrollments.find(enrollmentId);
    if (enrollment?.kind === 'enroll' && isOther(enrollment)) return OTHER_KEY;
  }
  return undefined;
}

const OTHER_KEY = 'a certificate for another key of this device was issued and is not in use yet';
