/** @returns path of the OpenSSL provider `tpm2`, 1.2 or later: the system's, else the one the set-up has fetched. */
export declare function tpmProviderPath(root: string): string | undefined;
