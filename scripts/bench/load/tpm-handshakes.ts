import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Target } from '#scripts/bench/load-jobs.ts';
import { dial, hangUp } from './dial.ts';

/** `tpm`, `software`: folders with `key.pem` and `certificate.pem`. */
export type HandshakeOrder = { target: Target; count: number; tpm: string; software: string };
/** Milliseconds each. */
export type HandshakeTimes = { tpm: number[]; software: number[] };

// A program of its own: OpenSSL learns of the TPM only at the start of a process (--openssl-config).
const order = JSON.parse(process.argv[2] ?? '{}') as HandshakeOrder;
const ca = readFileSync(order.target.caFile, 'utf8');
const kinds = ['tpm', 'software'] as const;
const contexts = { tpm: contextOf(order.tpm), software: contextOf(order.software) };
const times: HandshakeTimes = { tpm: [], software: [] };
// One more in front, which is not counted: it loads what the others find loaded.
for (let turn = 0; turn <= order.count; turn += 1) {
  for (const kind of kinds) {
    const startedAt = performance.now();
    // In TLS 1.3 the client is done before the server has verified it: the server's goodbye is the end.
    await hangUp(await dial(order.target, contexts[kind], 'http/1.1'));
    if (turn > 0) times[kind].push(performance.now() - startedAt);
  }
}
process.stdout.write(JSON.stringify(times));

function contextOf(folder: string): SecureContext {
  return createSecureContext({
    key: readFileSync(join(folder, 'key.pem')),
    cert: readFileSync(join(folder, 'certificate.pem')),
    ca,
    // The issuing CA is the anchor, as in the other measurements.
    allowPartialTrustChain: true,
    minVersion: 'TLSv1.3',
  });
}
