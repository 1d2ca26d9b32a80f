import { readFile } from 'node:fs/promises';
import type { DeviceAdded } from '#gateway/contract/operator-api.ts';
import { type AttestedJob, type AttestedResult, ENDORSEMENT_KEYS, type EndorsementKey } from './attested-jobs.ts';
import { type BenchSettings, CONCURRENCY, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import { LoadProcess } from './load-process.ts';
import { ATTESTED_GROUP, pinMaker } from './measure-tpm-enrollment.ts';
import { childrenOf } from './process-facts.ts';
import { median, rounded } from './statistics.ts';
import { type Timed, timeLoad } from './timed-load.ts';

type AttestedLoad = LoadProcess<AttestedJob, AttestedResult>;

/** Devices of one round. An RSA key takes a tenth of a second to make, and every device has a TPM of its own. */
const DEVICES = { 'ec-p256': 100, 'rsa-2048': 20, 'ec-p384': 100 } as const satisfies Record<EndorsementKey, number>;
const VERIFICATIONS = 600;
const WARM_UP = 120;

/**
 * How many attested enrollments a gateway can judge: what it computes for one, alone; and both round trips through the
 * real door, where TLS, the database and the certificate come to it. Rounds of all kinds in turn.
 */
export async function measureAttestedRates(stage: BenchStage, settings: BenchSettings): Promise<Figure[]> {
  const load: AttestedLoad = new LoadProcess(new URL(import.meta.resolve('#simulators/attested-load.ts')));
  try {
    const { rootCertificate = '' } = await load.run({ kind: 'maker' });
    await pinMaker(stage, [Buffer.from(rootCertificate, 'base64')]);
    const pids = [stage.gatewayPid, ...(await childrenOf(stage.gatewayPid))];
    const verified = new Map<EndorsementKey, AttestedResult[]>();
    const enrolled = new Map<EndorsementKey, Timed[]>();
    for (const kind of ENDORSEMENT_KEYS) {
      verified.set(kind, []);
      enrolled.set(kind, []);
    }
    // Not measured: the first requests of a process are compiled while they are answered.
    await enrollRound(stage, load, pids, 'ec-p256', scaled(WARM_UP, settings));
    for (let round = 0; round < settings.rounds; round += 1) {
      for (const kind of ENDORSEMENT_KEYS) {
        const count = scaled(VERIFICATIONS, settings);
        verified.get(kind)?.push(await load.run({ kind: 'verify', endorsementKey: kind, count }));
        enrolled.get(kind)?.push(await enrollRound(stage, load, pids, kind, scaled(DEVICES[kind], settings)));
      }
    }
    return [
      ...ENDORSEMENT_KEYS.map((kind) => verificationFigure(kind, verified.get(kind) ?? [])),
      ...ENDORSEMENT_KEYS.map((kind) => doorFigure(kind, enrolled.get(kind) ?? [])),
    ];
  } finally {
    await load.stop();
  }
}

let named = 0;

async function enrollRound(
  stage: BenchStage,
  load: AttestedLoad,
  pids: readonly number[],
  endorsementKey: EndorsementKey,
  count: number,
): Promise<Timed> {
  const tickets: { deviceId: string; ticket: string }[] = [];
  for (let index = 0; index < count; index += 1) {
    named += 1;
    const deviceId = `bench-attested-${named}`;
    const { ticket } = await stage.operator.call<DeviceAdded>('addDevice', {
      body: { deviceId, group: ATTESTED_GROUP },
    });
    tickets.push({ deviceId, ticket });
  }
  await load.run({ kind: 'equip', endorsementKey, tickets });
  const { host, port, caFile } = stage.est;
  const target = { host, port, ca: await readFile(caFile, 'utf8') };
  const deviceIds = tickets.map(({ deviceId }) => deviceId);
  return timeLoad(load, pids, { kind: 'enroll-attested', target, deviceIds, concurrency: CONCURRENCY });
}

function verificationFigure(kind: EndorsementKey, rounds: readonly AttestedResult[]): Figure {
  // By processor time: on a machine that does other things as well, the wall says less.
  const perSecond = rounds.map(({ count, processorMs }) => (count * 1000) / processorMs);
  return {
    name: `verification alone, EK ${kind}`,
    value: median(perSecond),
    unit: '/core s',
    rounds: perSecond.map(rounded),
    note: 'EK path, MakeCredential, CSR, evidence',
  };
}

function doorFigure(kind: EndorsementKey, rounds: readonly Timed[]): Figure {
  const perSecond = rounds.map((round) => round.perSecond);
  const serverMs = median(rounds.map((round) => round.serverMs));
  const p50 = median(rounds.map(({ latencies }) => median(latencies)));
  const loadMs = median(rounds.map((round) => round.loadMs));
  return {
    name: `both round trips, new connection, EK ${kind}`,
    value: median(perSecond),
    unit: '/s',
    rounds: perSecond.map(rounded),
    note: `p50 ${rounded(p50)} ms; ${rounded(serverMs)} ms of processor each in gateway and authority: ${rounded(1000 / serverMs)} per processor second; load process ${rounded(loadMs)} ms`,
  };
}
