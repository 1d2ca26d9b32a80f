import { hash } from 'node:crypto';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import { type Finding, failed } from '#device-agent/operations/check-agent.ts';
import { chooseTlsAccess, findTlsAccess, type TlsAccessOffer } from './choose-tls-access.ts';
import { readEndorsement } from './endorsement-key.ts';
import { type OpensslProvider, requireUsable } from './openssl-provider.ts';
import { TpmError } from './tpm-error.ts';
import { type TpmBench, TpmWorkbench } from './tpm-workbench.ts';

/** What a key in the TPM needs, one line each, and what to install or do. A TPM that does not answer is not asked further. */
export async function checkTpm({ tcti }: { tcti: string }): Promise<Finding[]> {
  const findings: Finding[] = [];
  await attempt(findings, () =>
    new TpmWorkbench(tcti).use(async (bench) => {
      await bench.handles('handles-persistent');
      findings.push({ ok: true, what: `tpm2-tools are installed and a TPM answers at ${tcti}` });
      findings.push(await checkLockout(bench));
      findings.push(await checkEndorsement(bench));
    }),
  );
  findings.push(...checkTlsAccess(await findTlsAccess(tcti)));
  return findings;
}

/** Which way TLS takes to a key in the TPM; when there is none, what each of the two lacks. */
export function checkTlsAccess(offer: TlsAccessOffer): Finding[] {
  const { forced, provider, pkcs11 } = offer;
  try {
    const access = chooseTlsAccess(offer);
    if (access.kind === 'provider') {
      const version = provider?.version ?? 'of an unknown version';
      return [{ ok: true, what: `the OpenSSL provider is ${version} at ${access.module}` }];
    }
    const { engine, module } = access.parts;
    return [{ ok: true, what: `TLS uses the key by PKCS#11: engine ${engine}, module ${module}` }];
  } catch (error) {
    if (!(error instanceof TpmError)) throw error;
  }
  const findings: Finding[] = [];
  if (forced !== 'pkcs11') findings.push(...providerLacks(provider));
  if (forced !== 'provider' && Array.isArray(pkcs11)) {
    const prefix = forced === 'pkcs11' ? '' : 'nor by PKCS#11: ';
    findings.push(...pkcs11.map(({ what, advice }) => ({ ok: false, what: prefix + what, advice })));
  }
  return findings;
}

function providerLacks(provider: OpensslProvider | undefined): Finding[] {
  try {
    requireUsable(provider);
    return [];
  } catch (error) {
    return [failed('TLS cannot use the key by the OpenSSL provider', error)];
  }
}

async function checkLockout(bench: TpmBench): Promise<Finding> {
  const properties = await bench.ask('tpm2_getcap properties-variable');
  const isLocked = /inLockout:\s*1/.test(properties);
  const attempts = Number(/TPM2_PT_LOCKOUT_COUNTER:\s*(0x[0-9a-f]+)/i.exec(properties)?.[1] ?? 0);
  if (!isLocked) return { ok: true, what: `the TPM is not locked (${attempts} failed attempts)` };
  return {
    ok: false,
    what: `the TPM is locked after ${attempts} failed attempts; keys of this agent are exempt, its endorsement key may not be`,
    advice: 'wait until it recovers by itself, or clear it: tpm2_dictionarylockout -c',
  };
}

async function checkEndorsement(bench: TpmBench): Promise<Finding> {
  const { certificate, kind, area } = await readEndorsement(bench);
  const sha256 = hash('sha256', formatSpki(area), 'hex');
  return certificate
    ? { ok: true, what: `the TPM carries an endorsement certificate (${kind}, key SHA-256 ${sha256})` }
    : {
        ok: true,
        what: `the TPM carries no endorsement certificate (${kind}, key SHA-256 ${sha256})`,
        advice: 'for proof level tpm-endorsed the operator allows this key: `gatehouse tpm ek allow`',
      };
}

async function attempt(findings: Finding[], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    const { message, advice } = error;
    findings.push({ ok: false, what: message, ...(advice === undefined ? {} : { advice }) });
  }
}
