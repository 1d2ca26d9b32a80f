import { availableParallelism } from 'node:os';
import { kibPerDevice, type MemoryUse } from '#simulators/fleet/memory-use.ts';
import type { PhaseResult } from '#simulators/fleet/phase-recorder.ts';
import type { SimulationOptions } from '#simulators/fleet/simulation-options.ts';
import { formatFailures, formatPhases, formatRepeats } from './format-phases.ts';

/** Why a run ended before its last phase. */
export type Interruption = 'signal' | 'time-limit';

/** What `--json` prints. Others' scripts rely on these names. */
export type SimulationReport = {
  ok: boolean;
  interrupted: Interruption | null;
  devices: number;
  scenario: string;
  algorithm: string;
  concurrency: number;
  seconds: number;
  /** Of the simulating process, which holds the devices, not of the gateway. */
  memory: { residentMiB: number; kibPerDevice: number | null };
  machine: { cores: number; node: string; openssl: string };
  phases: PhaseResult[];
};

export function buildReport(
  options: SimulationOptions,
  run: { phases: PhaseResult[]; memory: MemoryUse; seconds: number; interrupted: Interruption | null },
): SimulationReport {
  const failed = run.phases.some((phase) => phase.failed > 0);
  return {
    ok: !failed && run.interrupted === null,
    interrupted: run.interrupted,
    devices: options.devices,
    scenario: options.scenario,
    algorithm: options.keyKind,
    concurrency: options.concurrency,
    seconds: Math.round(run.seconds * 1000) / 1000,
    memory: {
      residentMiB: Math.round(run.memory.connected.resident / 1024 / 1024),
      kibPerDevice: kibPerDevice(run.memory),
    },
    machine: {
      cores: availableParallelism(),
      node: process.versions.node,
      openssl: process.versions.openssl,
    },
    phases: run.phases,
  };
}

/** The report for people. */
export function formatReport(report: SimulationReport): string {
  const { devices, algorithm, concurrency, seconds, memory, machine, phases } = report;
  const perDevice = memory.kibPerDevice === null ? '' : `, ${memory.kibPerDevice} KiB per connected device`;
  return [
    formatPhases(phases),
    'p50 to max: milliseconds per device; cpu: processor milliseconds per device, here\nin the simulator and in the gateway',
    ...(formatRepeats(phases) === '' ? [] : [formatRepeats(phases)]),
    '',
    `${devices} devices, ${algorithm}, ${concurrency} at a time, ${seconds.toFixed(1)} s in all; ${machine.cores} cores, Node ${machine.node}`,
    `memory of the simulator: ${memory.residentMiB} MiB${perDevice}`,
    ...(report.interrupted === 'signal' ? ['ended by Ctrl-C: results so far'] : []),
    ...(report.interrupted === 'time-limit' ? ['ended by the time limit: results so far'] : []),
    ...(formatFailures(phases) === '' ? [] : ['', 'failures:', formatFailures(phases)]),
  ].join('\n');
}
