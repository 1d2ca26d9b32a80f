/** Bits of TPMA_OBJECT (TPM 2.0 Part 2, 8.3.2). */
const BITS = {
  fixedTPM: 1,
  stClear: 2,
  fixedParent: 4,
  sensitiveDataOrigin: 5,
  userWithAuth: 6,
  adminWithPolicy: 7,
  firmwareLimited: 8,
  svnLimited: 9,
  noDA: 10,
  encryptedDuplication: 11,
  restricted: 16,
  decrypt: 17,
  sign: 18,
  x509sign: 19,
} as const;

export type ObjectAttribute = keyof typeof BITS;
export type ObjectAttributes = ReadonlySet<ObjectAttribute>;

const attributes = Object.entries(BITS).map(([name, bit]) => ({ name: name as ObjectAttribute, mask: 1 << bit }));
const KNOWN = attributes.reduce((mask, attribute) => mask | attribute.mask, 0);

/** @returns undefined when a reserved bit is set: what it would mean is not known here. @param bits 32 of them. */
export function parseAttributes(bits: number): ObjectAttributes | undefined {
  if ((bits & ~KNOWN) !== 0) return undefined;
  return new Set(attributes.filter(({ mask }) => (bits & mask) !== 0).map(({ name }) => name));
}

export function formatAttributes(set: ObjectAttributes): number {
  return attributes.reduce((bits, { name, mask }) => (set.has(name) ? bits | mask : bits), 0) >>> 0;
}

/** @returns the ones of `wanted` that are not set, in their order. */
export function missingAttributes(set: ObjectAttributes, wanted: readonly ObjectAttribute[]): ObjectAttribute[] {
  return wanted.filter((attribute) => !set.has(attribute));
}
