import { formatKeyFingerprint } from '#gateway/contract/key-fingerprint.ts';
import type { EnrollmentRequestState, EnrollmentRequestSummary } from '#gateway/contract/operator-api.ts';
import { formatDistance, formatTime } from './format-time.ts';
import { colour, printFields, printTable } from './output.ts';

const KNOWN = {
  unknown: 'no, and would be registered',
  registered: 'yes, registered and without a certificate',
  enrolled: 'yes, and in use with another key',
} as const satisfies Record<EnrollmentRequestSummary['known'], string>;

const STATE = {
  waiting: 'waiting for a person',
  approved: 'approved, and the device has not asked again yet',
  refused: 'refused',
  expired: 'expired',
  used: 'approved, and used',
} as const satisfies Record<EnrollmentRequestState, string>;

/** @param now milliseconds UTC */
export function printEnrollmentRequests(requests: readonly EnrollmentRequestSummary[], now: number): void {
  printTable(
    ['request', 'device', 'group', 'state', 'key fingerprint', 'key', 'proof', 'known', 'asks by', 'from', 'asked'],
    requests.map((request) => [
      request.id,
      request.deviceId,
      request.group,
      request.state,
      formatKeyFingerprint(request.spkiSha256),
      request.keyKind,
      request.proofLevel,
      request.known === 'registered' ? 'yes' : colour('yellow', request.known),
      // The ids that follow the kind are as long as the rest of the line: `show` has them.
      request.grounds.split(':', 1)[0] ?? request.grounds,
      `${request.address} ${request.door}`,
      formatDistance(request.askedAt, now),
    ]),
    'nobody waits',
  );
}

/** @param now milliseconds UTC */
export function printEnrollmentRequest(request: EnrollmentRequestSummary, now: number): void {
  const again =
    request.timesAsked > 1 ? `, ${request.timesAsked} times, last ${formatTime(request.lastAskedAt, now)}` : '';
  const isOpen = request.state === 'waiting' || request.state === 'approved';
  printFields({
    request: request.id,
    device: request.deviceId,
    'known device': KNOWN[request.known],
    group: request.group,
    state: STATE[request.state],
    'has to be decided': request.state === 'waiting' ? request.reason : undefined,
    'asks by': request.grounds,
    from: `${request.address} over ${request.door === 'est' ? 'EST' : 'MQTT'}`,
    'hardware serial': request.hardwareSerial ?? undefined,
    key: `${request.keyKind}, proof level ${request.proofLevel}`,
    'key fingerprint': formatKeyFingerprint(request.spkiSha256),
    'SHA-256 of the key': request.spkiSha256,
    asked: `${formatTime(request.askedAt, now)}${again}`,
    'good until': isOpen ? formatTime(request.expiresAt, now) : undefined,
    decided:
      request.decidedAt === null
        ? undefined
        : `${formatTime(request.decidedAt, now)} by ${request.decidedBy ?? 'the gateway'}`,
    note: request.note ?? undefined,
  });
}
