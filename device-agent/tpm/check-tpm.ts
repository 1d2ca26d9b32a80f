import { hash } from 'node:crypto';
import { formatSpki } from '#ca/tpm2/public-area-key.ts';
import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { Finding } from '#device-agent/operations/check-agent.ts';
import { readEndorsement } from './endorsement-key.ts';
import { findOpensslProvider, requireUsable } from './openssl-provider.ts';
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
  await attempt(findings, async () => {
    const { module, version } = requireUsable(await findOpensslProvider(process.env['GATEHOUSE_TPM2_PROVIDER']));
    findings.push({ ok: true, what: `the OpenSSL provider is ${version ?? 'of an unknown version'} at ${module}` });
  });
  return findings;
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
