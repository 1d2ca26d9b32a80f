import { readDer, sequence } from '#ca/pkix/der.ts';

/** Certificates in one column: a DER SEQUENCE of them. */
export function joinChain(chain: readonly Buffer[]): Buffer {
  return sequence(...chain);
}

export function splitChain(column: Buffer): Buffer[] {
  return readDer(column)
    .children()
    .map(({ raw }) => raw);
}
