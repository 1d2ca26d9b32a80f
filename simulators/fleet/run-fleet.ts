import { AgentError } from '#device-agent/domain/agent-error.ts';
import type { OperatorClient } from '#simulators/gateway/operator-client.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';
import { type FleetSettings, workOf } from './fleet-phases.ts';
import { type MemoryUse, readMemory } from './memory-use.ts';
import { PhaseRecorder, type PhaseResult } from './phase-recorder.ts';
import type { PhaseName } from './plan-phases.ts';
import { type ProcessorReading, readProcessorTime } from './processor-use.ts';
import { runBounded } from './run-bounded.ts';
import type { SimulatedDevice } from './simulated-device.ts';

/** Whom the run tells how far it is. */
export type FleetProgress = {
  begin(recorder: PhaseRecorder): void;
  advance(recorder: PhaseRecorder): void;
  finish(result: PhaseResult): void;
};

export type FleetRun = {
  fleet: readonly SimulatedDevice[];
  phases: readonly PhaseName[];
  operator: OperatorClient;
  /** Its processor time is told beside ours. */
  gatewayPid: number;
  settings: FleetSettings;
  /** Devices at work at once, where they do not come all together. */
  concurrency: number;
  /** Milliseconds that one device may take for one phase. */
  stepMs: number;
  progress: FleetProgress;
  /** Aborted when the run is to end: what is under way is given up, what was done is told. */
  signal: AbortSignal;
};

export type FleetOutcome = { phases: PhaseResult[]; memory: MemoryUse };

/** One phase after the other. Never rejects for a device that fails: that is a result. */
export async function runFleet(run: FleetRun): Promise<FleetOutcome> {
  const phases: PhaseResult[] = [];
  const before = readMemory();
  let connected = before;
  let devices = 0;
  for (const name of run.phases) {
    if (run.signal.aborted) break;
    phases.push(name === 'hold' ? await hold(run) : await work(run, name));
    if (name === 'connect' || name === 'hold') {
      connected = readMemory();
      devices = run.fleet.filter(({ isConnected }) => isConnected).length;
    }
  }
  return { phases, memory: { before, connected, devices } };
}

async function work(run: FleetRun, name: Exclude<PhaseName, 'hold'>): Promise<PhaseResult> {
  const { devices, together, run: perform } = workOf(name, run.fleet, run.operator, run.settings);
  const recorder = begin(run, name, devices.length);
  const before = await readProcessorTime(run.gatewayPid);
  const limit = together ? devices.length : run.concurrency;
  const one = async (device: SimulatedDevice) => {
    const startedAt = performance.now();
    const step = new AbortController();
    const giveUp = () => step.abort(interruption());
    run.signal.addEventListener('abort', giveUp, { once: true });
    const late = () => step.abort(new SimulatorError('TIMEOUT', `not done after ${run.stepMs / 1000} s`));
    const timer = setTimeout(late, run.stepMs);
    device.onRepeat = (reason) => recorder.recordRepeat(reason);
    try {
      await perform(device, step.signal);
      recorder.recordDone(performance.now() - startedAt);
    } catch (error) {
      // What the end of the run broke off has not failed.
      if (!run.signal.aborted) recordFailure(recorder, device, step.signal.aborted ? step.signal.reason : error);
    } finally {
      clearTimeout(timer);
      run.signal.removeEventListener('abort', giveUp);
      device.onRepeat = () => {};
      run.progress.advance(recorder);
    }
  };
  await runBounded(devices, limit, one, run.signal);
  return finish(run, recorder, before);
}

/** Stays, and counts whose session ended meanwhile. */
async function hold(run: FleetRun): Promise<PhaseResult> {
  const connected = run.fleet.filter(({ isConnected }) => isConnected);
  const recorder = begin(run, 'hold', connected.length);
  const lost = new Map<SimulatedDevice, string>();
  for (const device of connected) device.onLost = (detail) => lost.set(device, detail);
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      run.signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, run.settings.holdMs);
    run.signal.addEventListener('abort', end, { once: true });
    // With nobody connected there is nothing to wait for.
    if (run.signal.aborted || connected.length === 0) end();
  });
  for (const device of connected) {
    device.onLost = () => {};
    const detail = lost.get(device);
    if (detail === undefined) recorder.recordDone();
    else recorder.recordFailure('SESSION_LOST', detail, device.deviceId);
  }
  run.progress.advance(recorder);
  return finish(run, recorder);
}

function begin(run: FleetRun, name: PhaseName, total: number): PhaseRecorder {
  const recorder = new PhaseRecorder(name, total, performance.now());
  run.progress.begin(recorder);
  return recorder;
}

async function finish(run: FleetRun, recorder: PhaseRecorder, before?: ProcessorReading): Promise<PhaseResult> {
  const now = performance.now();
  const after = await readProcessorTime(run.gatewayPid);
  const result = recorder.finish(now, before && { before, after });
  run.progress.finish(result);
  return result;
}

function recordFailure(recorder: PhaseRecorder, device: SimulatedDevice, error: unknown): void {
  const { deviceId } = device;
  if (error instanceof AgentError) {
    recorder.recordFailure(error.code, error.message, error.attemptId ?? deviceId);
  } else if (error instanceof SimulatorError) {
    recorder.recordFailure(error.reason ?? error.code, error.message, deviceId);
  } else {
    recorder.recordFailure('UNEXPECTED', error instanceof Error ? error.message : String(error), deviceId);
  }
}

function interruption(): SimulatorError {
  return new SimulatorError('INTERRUPTED', 'the run was ended');
}
