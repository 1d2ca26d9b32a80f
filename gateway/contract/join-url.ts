import { type DeviceId, isDeviceId } from './device-id.ts';

/**
 * All a technician carries to a device, in one string without a character that a shell would touch:
 * `gatehouse://HOST:PORT/DEVICE-ID/TICKET/ROOT-SHA256`. It holds a secret (the ticket): it is never sent anywhere whole.
 */
export type JoinUrl = { host: string; port: number; deviceId: DeviceId; ticket: string; rootSha256: string };

const JOIN_URL =
  /^gatehouse:\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253}):(\d{1,5})\/([^/]+)\/([0-9A-Za-z]{1,64})\/([0-9A-Fa-f]{64})\/?$/;

export function formatJoinUrl({ host, port, deviceId, ticket, rootSha256 }: JoinUrl): string {
  return `gatehouse://${host.includes(':') ? `[${host}]` : host}:${port}/${deviceId}/${ticket}/${rootSha256}`;
}

/** @throws SyntaxError that never repeats the text, since it may hold a live ticket. */
export function parseJoinUrl(text: string): JoinUrl {
  const match = text.length <= 1024 ? JOIN_URL.exec(text.trim()) : null;
  const [, host, port, deviceId, ticket, rootSha256] = match ?? [];
  if (!host || !port || !ticket || !rootSha256 || !isDeviceId(deviceId) || Number(port) < 1 || Number(port) > 65535) {
    throw new SyntaxError(
      'this is not a join URL: it looks like gatehouse://HOST:PORT/DEVICE-ID/TICKET/ROOT-SHA256, as `gatehouse device add` prints it',
    );
  }
  return {
    host: host.replace(/^\[|\]$/g, ''),
    port: Number(port),
    deviceId,
    ticket,
    rootSha256: rootSha256.toLowerCase(),
  };
}
