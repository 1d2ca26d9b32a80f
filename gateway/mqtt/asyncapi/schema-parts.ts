import { z } from 'zod';

/** Shapes that several payloads share, exactly as strict as the parsers of `contract/`. */

/** A whole number from 0 that a double holds exactly. */
export const count = z.int().min(0);

/** Milliseconds UTC. */
export const moment = count.describe('milliseconds UTC');

export const version = z.literal(1).describe('a message of another version is refused');

/** RFC 4648 4, padded or not. @param most characters */
export const base64 = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[A-Za-z0-9+/]+={0,2}$/);

export const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** Of a certificate, lower-case hexadecimal. */
export const serial = z.string().max(40).describe('of a certificate, lower-case hexadecimal');

export const suggestedWindow = z
  .object({ start: moment, end: moment })
  .describe('when the certificate is to be renewed: at a random moment within; an end that has passed means now');
