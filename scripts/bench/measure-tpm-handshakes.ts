import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from '#scripts/demo/run-command.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import type { HandshakeOrder, HandshakeTimes } from './load/tpm-handshakes.ts';
import type { EnrolledPair } from './measure-tpm-enrollment.ts';
import { percentile, rounded } from './statistics.ts';

const COUNT = 40;
/** What the agent has written beside its state when it first needed the provider. */
const OPENSSL_CONFIG = 'openssl-tpm.cnf';

/** Full mutual TLS 1.3 handshakes in one process, in turn with the key in the TPM and with the one in a file. */
export async function measureTpmHandshakes(stage: BenchStage, enrolled: EnrolledPair): Promise<Figure[]> {
  const { tpm, tpmState, softwareState } = enrolled;
  const order: HandshakeOrder = {
    target: stage.est,
    count: COUNT,
    tpm: join(tpmState, 'current'),
    software: join(softwareState, 'current'),
  };
  const program = fileURLToPath(new URL('./load/tpm-handshakes.ts', import.meta.url));
  const args = [`--openssl-config=${join(tpmState, OPENSSL_CONFIG)}`, program, JSON.stringify(order)];
  const env = { ...process.env, TPM2OPENSSL_TCTI: tpm.tcti, TSS2_LOG: 'all+none' };
  const result = await runCommand(process.execPath, args, { env });
  if (result.exitCode !== 0) throw new Error(`no handshakes with the key in the TPM: ${result.stderr.trim()}`);
  const times = JSON.parse(result.stdout) as HandshakeTimes;
  return [
    {
      name: 'mutual TLS handshake with it, p50',
      value: percentile(times.tpm, 50),
      unit: 'ms',
      peer: { name: 'a key in a file', value: percentile(times.software, 50) },
      note: `${COUNT} of each in turn, one at a time; p90 ${rounded(percentile(times.tpm, 90))} against ${rounded(percentile(times.software, 90))} ms`,
    },
  ];
}
