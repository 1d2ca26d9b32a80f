import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { TlsKeyAccess } from '#device-agent/domain/agent-status.ts';
import { findOpensslProvider, type OpensslProvider, requireUsable } from './openssl-provider.ts';
import { findPkcs11Parts, type MissingPart, type Pkcs11Parts, requireParts } from './pkcs11-parts.ts';
import { TpmError } from './tpm-error.ts';

/** How TLS in this process gets at a key in the TPM. */
export type TlsAccess = { kind: 'provider'; module: string } | { kind: 'pkcs11'; parts: Pkcs11Parts };

/** What the choice is made of. `forced`: the operator has named one way, and there is no other. */
export type TlsAccessOffer = {
  forced: TlsKeyAccess | undefined;
  provider: OpensslProvider | undefined;
  pkcs11: Pkcs11Parts | MissingPart[];
};

/** Looks at what is installed and what the environment says. @param tcti how the TPM is reached. @throws AgentError USAGE */
export async function findTlsAccess(tcti: string): Promise<TlsAccessOffer> {
  const { GATEHOUSE_TPM_TLS: wanted, GATEHOUSE_TPM2_PROVIDER: named } = process.env;
  return {
    forced: parseForced(wanted),
    provider: await findOpensslProvider(named),
    pkcs11: await findPkcs11Parts(tcti),
  };
}

/**
 * The provider where it is new enough, else PKCS#11: that is slower by some milliseconds and keeps a database beside
 * the key, but is there on systems with an older provider.
 * @throws TpmError PROVIDER_UNFIT, with what to install for either
 */
export function chooseTlsAccess({ forced, provider, pkcs11 }: TlsAccessOffer): TlsAccess {
  const problems: TpmError[] = [];
  for (const way of forced ? [forced] : (['provider', 'pkcs11'] as const)) {
    try {
      if (way === 'provider') return { kind: way, module: requireUsable(provider).module };
      return { kind: way, parts: requireParts(pkcs11) };
    } catch (error) {
      if (!(error instanceof TpmError)) throw error;
      problems.push(error);
    }
  }
  throw new TpmError('PROVIDER_UNFIT', problems.map(({ message }) => message).join('; and '), {
    advice: problems.map(({ advice }) => advice ?? '').join('; or '),
    cause: problems[0],
  });
}

function parseForced(wanted: string | undefined): TlsKeyAccess | undefined {
  if (wanted === undefined || wanted === '') return undefined;
  if (wanted === 'provider' || wanted === 'pkcs11') return wanted;
  throw new AgentError('USAGE', 'GATEHOUSE_TPM_TLS is `provider` or `pkcs11`', {
    advice: 'leave it out: the OpenSSL provider is used where it is new enough, else PKCS#11',
  });
}
