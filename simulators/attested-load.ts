import { parseCertificate } from '#ca/pkix/certificate.ts';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import { runBounded } from './fleet/run-bounded.ts';
import { type AttestedDevice, makeAttestedDevice } from './load/attested-device.ts';
import { type EnrollTarget, enrollAttested } from './load/enroll-attested.ts';
import { type AttestationSample, makeSample, verifyAttestation } from './load/verify-attestation.ts';
import { createSimulatedMaker } from './tpm/simulated-maker.ts';

/**
 * A program for measurements, started with a process channel: `{id, job}` in, `{id, result}` or `{id, error}` out, one
 * job after the other. `npm run bench` writes and reads the same shapes (scripts/bench/attested-jobs.ts).
 */
type AttestedJob =
  /** The root to pin, in `rootCertificate`. */
  | { kind: 'maker' }
  /** A TPM and a key for each device. */
  | { kind: 'equip'; endorsementKey: EndorsementKind; tickets: { deviceId: string; ticket: string }[] }
  /** Both round trips for each of these devices, a new connection each. */
  | { kind: 'enroll-attested'; target: EnrollTarget; deviceIds: string[]; concurrency: number }
  /** What the gateway computes for it, without TLS, database and certificate, in this process. */
  | { kind: 'verify'; endorsementKey: EndorsementKind; count: number };

type AttestedResult = {
  count: number;
  failed: number;
  firstFailure: string | null;
  seconds: number;
  /** Milliseconds, in no order. */
  latencies: number[];
  /** Milliseconds of processor time of this process for all of it. */
  processorMs: number;
  /** Of `maker`: base64 of the DER. */
  rootCertificate?: string;
};

/** So many different samples: repeating one would let the processor learn it by heart. */
const SAMPLES = 32;

const maker = createSimulatedMaker();
const root = parseCertificate(maker.rootCertificate);
const samples = new Map<EndorsementKind, AttestationSample[]>();
const devices = new Map<string, AttestedDevice & { deviceId: string; ticket: string }>();

process.on('message', ({ id, job }: { id: number; job: AttestedJob }) => {
  run(job).then(
    (result) => process.send?.({ id, result }),
    (error: unknown) => process.send?.({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C reaches the whole group: who started us ends us when it has shown what it has.
process.on('SIGINT', () => {});

async function run(job: AttestedJob): Promise<AttestedResult> {
  switch (job.kind) {
    case 'maker':
      return { ...(await time([], 1, async () => {})), rootCertificate: maker.rootCertificate.toString('base64') };
    case 'equip':
      return time(job.tickets, 1, async ({ deviceId, ticket }) => {
        devices.set(deviceId, { deviceId, ticket, ...makeAttestedDevice(maker, job.endorsementKey) });
      });
    case 'enroll-attested':
      return time(job.deviceIds, job.concurrency, async (deviceId) => {
        const device = devices.get(deviceId);
        if (!device) throw new Error(`${deviceId} has no TPM`);
        await enrollAttested(job.target, device, [maker.issuerCertificate]);
      });
    case 'verify': {
      const trust = { root, maker, now: Date.now() };
      const samples = await samplesOf(job.endorsementKey);
      // Not measured: what runs first is compiled while it runs.
      for (const sample of samples) verifyAttestation(sample, trust);
      const turns = Array.from({ length: job.count }, (_, turn) => samples[turn % SAMPLES]);
      return time(turns, 1, async (sample) => sample && verifyAttestation(sample, trust));
    }
  }
}

async function samplesOf(endorsementKey: EndorsementKind): Promise<AttestationSample[]> {
  const known = samples.get(endorsementKey);
  if (known) return known;
  const made = await Promise.all(
    Array.from({ length: SAMPLES }, () => makeSample(makeAttestedDevice(maker, endorsementKey))),
  );
  samples.set(endorsementKey, made);
  return made;
}

async function time<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<AttestedResult> {
  const result: AttestedResult = { count: 0, failed: 0, firstFailure: null, seconds: 0, latencies: [], processorMs: 0 };
  const startedAt = performance.now();
  const processor = process.cpuUsage();
  await runBounded(items, concurrency, async (item) => {
    const begun = performance.now();
    try {
      await work(item);
      result.latencies.push(performance.now() - begun);
      result.count += 1;
    } catch (error) {
      result.failed += 1;
      result.firstFailure ??= error instanceof Error ? error.message : String(error);
    }
  });
  const { user, system } = process.cpuUsage(processor);
  return { ...result, seconds: (performance.now() - startedAt) / 1000, processorMs: (user + system) / 1000 };
}
