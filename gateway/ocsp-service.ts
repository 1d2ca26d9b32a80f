import type { AuthorityDescription } from '#ca/ports/certificate-authority.ts';
import { type OcspDeps, OcspResponder } from '#gateway/operations/answer-ocsp.ts';
import type { OwnCertificate } from '#gateway/operations/check-expiry.ts';
import type { OwnCertificateDeps } from '#gateway/operations/issue-own-certificate.ts';
import type { Log } from '#gateway/ports/log.ts';
import { OcspIdentities } from './ocsp-identities.ts';

export type OcspService = {
  responder: OcspResponder;
  /** The responder's certificates, for health. */
  describe(): OwnCertificate[];
  /** Asks for what is due, for every issuer there is now. */
  refresh(): Promise<void>;
};

/** The OCSP responder with its keys in a folder. What cannot be had at first comes with a later refresh. */
export async function openOcspService(
  deps: OcspDeps & OwnCertificateDeps & { log: Log },
  options: { folder: string; description: AuthorityDescription },
): Promise<OcspService> {
  const identities = new OcspIdentities(deps, options.folder);
  const responder = new OcspResponder(deps);
  const use = async (description: AuthorityDescription) => {
    await identities.refresh(description);
    responder.serve(identities.issuers);
  };
  await use(options.description);
  return {
    responder,
    describe: () => identities.describe(),
    refresh: async () => use(await deps.authority.describe()),
  };
}
