import { z } from 'zod';
import { DEVICE_ID_RULE, isDeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { HARDWARE_SERIAL, HARDWARE_SERIAL_RULE } from '#gateway/contract/hardware-serial.ts';

/** The fields that what operators send is made of. */

export const deviceId = z
  .string()
  .min(1)
  .max(63)
  .refine(isDeviceId, DEVICE_ID_RULE)
  .transform(parseDeviceId)
  .describe(DEVICE_ID_RULE);

export const groupName = z.string().min(1).max(63);

/** A person's words, one line: they go into the audit, notices and certificates. */
export const words = (length: number) =>
  z
    .string()
    .min(1)
    .max(length)
    .regex(/^\P{Cc}*$/u, 'control characters are not allowed');

export const hardwareSerial = z.string().regex(HARDWARE_SERIAL, HARDWARE_SERIAL_RULE);

export const seconds = z.int().max(3650 * 24 * 3600);

/** Of an attempt, a request or a ticket. */
export const recordId = z.string().min(1).max(64);

export const sha256 = z
  .string()
  .transform((text) => text.toLowerCase().replace(/:/g, ''))
  .pipe(z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 is 64 hexadecimal digits'));

/** DER in base64. */
export const der = z
  .base64()
  .min(4)
  .max(32 * 1024)
  .transform((text) => Buffer.from(text, 'base64'))
  .describe('base64 of the DER');

export const page = {
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  after: z.string().min(1).max(200).exactOptional(),
};
