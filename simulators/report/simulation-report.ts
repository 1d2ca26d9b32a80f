import { availableParallelism } from 'node:os';
import type { CrlTraffic } from '#simulators/fleet/memory-crl-folder.ts';
import { kibPerDevice, type MemoryUse } from '#simulators/fleet/memory-use.ts';
import type { PhaseResult } from '#simulators/fleet/phase-recorder.ts';
import type { SimulationOptions } from '#simulators/fleet/simulation-options.ts';
import { formatEvenness, formatFailures, formatPhases, formatRepeats } from './format-phases.ts';

/** Why a run ended before its last phase. */
export type Interruption = 'signal' | 'time-limit';

/** What `--json` prints. Others' scripts rely on these names. */
export type SimulationReport = {
  ok: boolean;
  interrupted: Interruption | null;
  devices: number;
  scenario: string;
  algorithm: string;
  key: 'software' | 'tpm';
  /** Enrollments with a key attested by a TPM, both round trips; null where keys are software. */
  attested: { endorsementKey: string; perSecond: number; perGatewaySecond: number | null } | null;
  concurrency: number;
  seconds: number;
  /** Of the simulating process, which holds the devices, not of the gateway. */
  memory: { residentMiB: number; kibPerDevice: number | null };
  /** Lists that devices fetched, octets of all of them, and fleet notices of revocations they took; null: --no-crl. */
  crl: CrlTraffic | null;
  machine: { cores: number; node: string; openssl: string };
  phases: PhaseResult[];
};

export function buildReport(
  options: SimulationOptions,
  run: {
    phases: PhaseResult[];
    memory: MemoryUse;
    seconds: number;
    interrupted: Interruption | null;
    crl: CrlTraffic | null;
  },
): SimulationReport {
  const failed = run.phases.some((phase) => phase.failed > 0);
  return {
    ok: !failed && run.interrupted === null,
    interrupted: run.interrupted,
    devices: options.devices,
    scenario: options.scenario,
    algorithm: options.keyKind,
    key: options.key,
    attested: options.key === 'tpm' ? attestedRates(options, run.phases) : null,
    concurrency: options.concurrency,
    seconds: Math.round(run.seconds * 1000) / 1000,
    memory: {
      residentMiB: Math.round(run.memory.connected.resident / 1024 / 1024),
      kibPerDevice: kibPerDevice(run.memory),
    },
    crl: run.crl,
    machine: {
      cores: availableParallelism(),
      node: process.versions.node,
      openssl: process.versions.openssl,
    },
    phases: run.phases,
  };
}

/** `perGatewaySecond`: of processor time in the gateway, its authority not counted. */
function attestedRates({ endorsementKey }: SimulationOptions, phases: readonly PhaseResult[]) {
  const enroll = phases.find(({ name }) => name === 'enroll');
  const gatewayMs = enroll?.processorMs?.gateway ?? null;
  return {
    endorsementKey,
    perSecond: enroll?.perSecond ?? 0,
    perGatewaySecond: gatewayMs === null || gatewayMs === 0 ? null : Math.round(10_000 / gatewayMs) / 10,
  };
}

/** The report for people. */
export function formatReport(report: SimulationReport): string {
  const { devices, algorithm, attested, concurrency, seconds, memory, machine, phases } = report;
  const perDevice = memory.kibPerDevice === null ? '' : `, ${memory.kibPerDevice} KiB per connected device`;
  return [
    formatPhases(phases),
    'p50 to max: milliseconds per device; cpu: processor milliseconds per device, here\nin the simulator and in the gateway',
    ...(formatRepeats(phases) === '' ? [] : [formatRepeats(phases)]),
    ...(formatEvenness(phases) === '' ? [] : [formatEvenness(phases)]),
    '',
    `${devices} devices, ${algorithm}, ${concurrency} at a time, ${seconds.toFixed(1)} s in all; ${machine.cores} cores, Node ${machine.node}`,
    ...(attested === null ? [] : [formatAttested(attested)]),
    `memory of the simulator: ${memory.residentMiB} MiB${perDevice}`,
    ...(report.crl === null
      ? []
      : [
          `revocations: ${report.crl.told} notices taken, ${report.crl.fetched} CRLs fetched (${report.crl.octets} octets)`,
        ]),
    ...(report.interrupted === 'signal' ? ['ended by Ctrl-C: results so far'] : []),
    ...(report.interrupted === 'time-limit' ? ['ended by the time limit: results so far'] : []),
    ...(formatFailures(phases) === '' ? [] : ['', 'failures:', formatFailures(phases)]),
  ].join('\n');
}

function formatAttested({ endorsementKey, perSecond, perGatewaySecond }: NonNullable<SimulationReport['attested']>) {
  const perCore = perGatewaySecond === null ? '' : `, ${perGatewaySecond} per second of the gateway's processor`;
  return `attested enrollments (TPMs in memory, EK ${endorsementKey}): ${perSecond.toFixed(1)}/s${perCore}`;
}
