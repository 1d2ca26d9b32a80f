import { randomBytes } from 'node:crypto';
import { nameDevices } from './fleet/device-names.ts';
import { requireOpenFiles } from './fleet/file-limit.ts';
import type { FleetSettings } from './fleet/fleet-phases.ts';
import type { CrlTraffic } from './fleet/memory-crl-folder.ts';
import { planPhases } from './fleet/plan-phases.ts';
import { type FleetOutcome, runFleet } from './fleet/run-fleet.ts';
import { SimulatedDevice } from './fleet/simulated-device.ts';
import { parseSimulationOptions, type SimulationOptions, USAGE } from './fleet/simulation-options.ts';
import { type FoundGateway, findGateway, findGatewayByReadyFile } from './gateway/find-gateway.ts';
import { OperatorClient } from './gateway/operator-client.ts';
import { OwnGateway } from './gateway/own-gateway.ts';
import { requireTrustedMaker, trustMaker } from './gateway/trust-maker.ts';
import { createProgress } from './report/live-progress.ts';
import { buildReport, formatReport, type Interruption } from './report/simulation-report.ts';
import { SimulatorError } from './simulator-error.ts';
import { openMakerFolder } from './tpm/maker-folder.ts';
import { createSimulatedMaker } from './tpm/simulated-maker.ts';

/** How long the devices get to leave cleanly when the run is ended. */
const LEAVE_MS = 5000;
/** Within this time two signals are one Ctrl-C: the terminal and npm may both deliver it. */
const ONE_CTRL_C_MS = 500;

try {
  const options = parseSimulationOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(`${USAGE}\n`);
  else process.exitCode = await simulate(options);
} catch (error) {
  if (!(error instanceof SimulatorError)) throw error;
  process.stderr.write(`${error.message}\n${error.advice === undefined ? '' : `next: ${error.advice}\n`}`);
  process.exitCode = error.code === 'USAGE' ? 2 : error.code === 'INTERRUPTED' ? 130 : 1;
}
// Sockets and timers of devices that were given up may linger.
process.exit();

/** @returns exit code: 0 when everything that was planned was done. @throws SimulatorError */
async function simulate(options: SimulationOptions): Promise<number> {
  await requireOpenFiles(options.devices);
  const ending = endOnSignalOrTime(options.timeLimitMs);
  const own =
    options.gateway === undefined && options.readyFile === undefined
      ? await OwnGateway.start(ending.signal)
      : undefined;
  try {
    const found = own?.found ?? (await findNamed(options));
    const startedAt = performance.now();
    const outcome = await run(options, { ...found, isOwn: own !== undefined }, ending.signal);
    const seconds = (performance.now() - startedAt) / 1000;
    const report = buildReport(options, { ...outcome, seconds, interrupted: ending.reason() });
    process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
    return report.interrupted === 'signal' ? 130 : report.ok ? 0 : 1;
  } finally {
    await own?.gateway.stop({ keep: options.keep });
    if (own && options.keep) process.stderr.write(`kept ${own.gateway.folder}\n`);
  }
}

async function findNamed({ gateway, readyFile }: SimulationOptions): Promise<FoundGateway> {
  return readyFile === undefined ? findGateway(gateway ?? '') : findGatewayByReadyFile(readyFile);
}

async function run(
  options: SimulationOptions,
  gateway: FoundGateway & { isOwn: boolean },
  signal: AbortSignal,
): Promise<FleetOutcome & { crl: CrlTraffic | null }> {
  const operator = new OperatorClient(gateway.operatorSocket, options.concurrency);
  const name = randomBytes(3).toString('hex');
  const crl = options.crl ? { fetched: 0, octets: 0, told: 0 } : undefined;
  const fleet = nameDevices(name, options.devices).map((deviceId) => new SimulatedDevice(deviceId, crl));
  try {
    const settings = await settle(options, gateway, operator);
    const outcome = await runFleet({
      fleet,
      phases: planPhases(options.scenario, { tpms: settings.tpms !== undefined, retire: options.retire }),
      operator,
      gatewayPid: gateway.pid,
      settings,
      concurrency: options.concurrency,
      stepMs: options.stepMs,
      progress: createProgress(process.stderr),
      signal,
    });
    return { ...outcome, crl: crl ?? null };
  } finally {
    const left = Promise.all(fleet.filter(({ isStarted }) => isStarted).map((device) => device.stop()));
    await Promise.race([left, new Promise((resolve) => setTimeout(resolve, LEAVE_MS))]);
    operator.close();
  }
}

/** What the options come to at this gateway: the maker of the TPMs is trusted before the first one asks for anything. */
async function settle(
  options: SimulationOptions,
  gateway: FoundGateway & { isOwn: boolean },
  operator: OperatorClient,
): Promise<FleetSettings> {
  const { key, endorsementKey } = options;
  if (key === 'software') return { ...options, tpms: undefined };
  if (gateway.isOwn) {
    const maker = createSimulatedMaker();
    const group = await trustMaker(operator, maker);
    return { ...options, group: options.group ?? group, tpms: { maker, endorsementKey } };
  }
  const kept = await openMakerFolder(options.maker);
  await requireTrustedMaker(operator, kept, gateway.dataDir);
  return { ...options, tpms: { maker: kept.maker, endorsementKey } };
}

/** The first Ctrl-C and the time limit end the run in order; a later Ctrl-C ends the process. */
function endOnSignalOrTime(timeLimitMs: number): { signal: AbortSignal; reason(): Interruption | null } {
  const ending = new AbortController();
  let reason: Interruption | null = null;
  let signalledAt: number | undefined;
  const onTime = () => {
    reason ??= 'time-limit';
    ending.abort();
  };
  const onSignal = () => {
    const now = performance.now();
    if (signalledAt !== undefined && now - signalledAt > ONE_CTRL_C_MS) process.exit(130);
    signalledAt ??= now;
    reason ??= 'signal';
    ending.abort();
  };
  setTimeout(onTime, timeLimitMs).unref();
  for (const event of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(event, onSignal);
  return { signal: ending.signal, reason: () => reason };
}
