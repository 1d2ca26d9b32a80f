import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';

/**
 * `sim-RUN-0001` and so on: two runs against one gateway never meet, and `gatehouse device list` shows a run together.
 * @param run a short word of letters and digits. @param count 1 to 99 999.
 */
export function nameDevices(run: string, count: number): DeviceId[] {
  const digits = Math.max(4, String(count).length);
  return Array.from({ length: count }, (_, index) =>
    parseDeviceId(`sim-${run}-${String(index + 1).padStart(digits, '0')}`),
  );
}
