import type { Certificate } from '#ca/pkix/certificate.ts';
import type { Signer } from './signer.ts';

/** An issuing CA with its key, and what leads to it. */
export type StoredIssuer = {
  /** 1, 2, ... in the order in which they were made. */
  number: number;
  signer: Signer;
  intermediate: Certificate;
  root: Certificate;
  /** NewWithOld and OldWithNew (RFC 9810 4.4), when its root took the place of another. */
  crossCertificates: Certificate[];
};

/** The issuing CAs that came after the first one, and which of all issues. Both outlive the process. */
export interface IssuerStore {
  /** Oldest first; those with a higher number. */
  listAfter(number: number): Promise<StoredIssuer[]>;
  /** Key id of the one that issues; undefined: the oldest. */
  active(): Promise<string | undefined>;
  activate(keyId: string): Promise<void>;
  /** Its keys are gone afterwards; one that is not there is no error. */
  discard(keyId: string): Promise<void>;
}
