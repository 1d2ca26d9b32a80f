import { boolean, explicit, integer, octetString, oid, sequence } from '#ca/pkix/der.ts';

/** TPM loadable key (draft-woodhouse-cert-best-practice, appendix "TPM key format"). */
const LOADABLE_KEY = '2.23.133.10.1.3';

export type Tss2Key = {
  /** Persistent handle of the parent, e.g. 0x81000001. */
  parentHandle: number;
  /** TPM2B_PUBLIC, with its size. */
  publicArea: Uint8Array;
  /** TPM2B_PRIVATE, with its size: wrapped by the parent, worthless without this TPM. */
  privateArea: Uint8Array;
};

/** TSS2 PRIVATE KEY, as OpenSSL's tpm2 provider reads it; emptyAuth, so that nobody is asked for a passphrase. */
export function formatTss2Pem({ parentHandle, publicArea, privateArea }: Tss2Key): string {
  const der = sequence(
    oid(LOADABLE_KEY),
    explicit(0, boolean(true)),
    integer(parentHandle),
    octetString(publicArea),
    octetString(privateArea),
  );
  const lines = der.toString('base64').replace(/.{1,64}/g, '$&\n');
  return `-----BEGIN TSS2 PRIVATE KEY-----\n${lines}-----END TSS2 PRIVATE KEY-----\n`;
}
