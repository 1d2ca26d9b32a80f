import type { SerialNumber } from '#ca/ports/issuance-order.ts';
import type { Journal } from '#ca/ports/journal.ts';

/** @returns DER; undefined when nothing was ever given away under this serial (an intent alone never was). */
export async function findIssued(deps: { journal: Journal }, serial: SerialNumber): Promise<Buffer | undefined> {
  const known = await deps.journal.find(serial);
  return known?.kind === 'certificate' ? known.der : undefined;
}
