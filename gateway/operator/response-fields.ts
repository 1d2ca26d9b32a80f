import { z } from 'zod';

/** The fields that what operators get is made of. */

export const time = z.int().describe('milliseconds UTC');

export const pageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), nextCursor: z.string().nullable().describe('null on the last page') });
