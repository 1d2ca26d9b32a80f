import { renderUnicodeCompact } from 'uqr';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { formatTime } from '#scripts/command-line/format-time.ts';
import { colour, print, printFields, terminalWidth } from '#scripts/command-line/output.ts';

/** Ticket and join URL as text and as a QR code, and the command for the device. */
export function showTicket(added: DeviceAdded, now: number): void {
  print('');
  printFields({
    device: added.deviceId,
    ticket: added.ticket,
    'join URL': added.joinUrl,
    'good until': formatTime(added.expiresAt, now),
  });
  const code = renderUnicodeCompact(added.joinUrl, { ecc: 'L', border: 2 });
  const width = terminalWidth();
  // A code that the terminal wraps cannot be scanned.
  if (width === undefined || width >= code.indexOf('\n')) {
    // It draws the light squares: white on black whatever the colours of this terminal are.
    const lines = code.split('\n').map((line) => `  ${colour(['whiteBright', 'bgBlack'], line)}`);
    print(`\n${lines.join('\n')}`);
  }
  print(
    `\nOn the device, type:\n\n  ${colour('bold', `gatehouse-agent enroll ${added.joinUrl}`)}\n  gatehouse-agent run\n`,
  );
}
