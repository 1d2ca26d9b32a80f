import type { DeviceAdded, DeviceDetail, DeviceTpm } from '#gateway/contract/operator-api.ts';
import { isCalledByNpm } from './command-name.ts';
import { formatTime } from './format-time.ts';
import { colour, print, printFields, printTable, say } from './output.ts';

/** The ticket is shown this one time only: the gateway keeps its hash. */
export function printDeviceAdded(added: DeviceAdded, now: number): void {
  printFields({
    device: added.deviceId,
    ticket: added.ticket,
    'join URL': added.joinUrl,
    'good until': formatTime(added.expiresAt, now),
  });
  say('');
  say('Shown this once. On the device, type:');
  say(`  gatehouse-agent enroll ${added.joinUrl}`);
  say('or, where others may see the list of processes, with the join URL on stdin (then Ctrl-D):');
  say('  gatehouse-agent enroll -');
  if (isCalledByNpm) {
    say('To try it from this checkout:');
    say(`  npx gatehouse-agent enroll ${added.joinUrl} --state agents/${added.deviceId}`);
  }
}

/** @param now milliseconds UTC */
export function printDevice(device: DeviceDetail, now: number): void {
  const { session, lastSession } = device;
  printFields({
    device: device.deviceId,
    group: device.group,
    state: device.state,
    'proof level': device.proofLevel,
    TPM: device.tpm === null ? undefined : describeTpm(device.tpm, now),
    owner: device.owner ?? undefined,
    'hardware serial': device.hardwareSerial ?? undefined,
    registered: formatTime(device.createdAt, now),
    session: session
      ? `${colour('green', 'connected')} since ${formatTime(session.since, now)} from ${session.address}, certificate ${session.serial}`
      : 'not connected',
    'renewal failed': describeRolledBack(device.rolledBack, now),
    'last session': lastSession ? `ended ${formatTime(lastSession.endedAt, now)}: ${lastSession.endReason}` : undefined,
  });
  print('');
  printTable(
    ['certificate', 'state', 'profile', 'from', 'until', 'renewed'],
    device.certificates.map((certificate) => [
      certificate.serial,
      certificate.state,
      certificate.profile,
      formatTime(certificate.notBefore, now),
      formatTime(certificate.notAfter, now),
      certificate.renewFrom === null ? '-' : formatTime(certificate.renewFrom, now),
    ]),
    'no certificates yet',
  );
  if (device.notices.length === 0) return;
  print('');
  printTable(
    ['notice', 'kind', 'number', 'state'],
    device.notices.map((notice) => [notice.id, notice.kind, String(notice.seq), notice.state]),
    '',
  );
}

function describeRolledBack(rolledBack: DeviceDetail['rolledBack'], now: number): string | undefined {
  if (rolledBack === null) return undefined;
  const { serial, reason, at } = rolledBack;
  return colour('yellow', `went back from certificate ${serial} ${formatTime(at, now)}: ${reason}`);
}

function describeTpm({ ekSha256, maker, proofLevel, firstSeen }: DeviceTpm, now: number): string {
  const named = [maker?.manufacturer, maker?.model, maker?.version].filter((part) => part != null).join(' ');
  const made = maker === null ? 'no certificate of its maker' : `made by ${named}`;
  return `${proofLevel}, ${made}, EK ${ekSha256}, since ${formatTime(firstSeen, now)}`;
}

/** @param notAfter milliseconds UTC, null without a certificate */
export function showCertificateEnd(notAfter: number | null, now: number): string {
  return notAfter === null ? '-' : formatTime(notAfter, now);
}
