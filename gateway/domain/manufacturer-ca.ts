/** A maker's CA whose device certificates (IDevID) may ask for enrollment in a group. */
export type ManufacturerCa = {
  group: string;
  /** Of the DER, lower-case hexadecimal. */
  sha256: string;
  subjectSha256: string;
  der: Buffer;
  note: string | null;
  addedAt: number;
};
