import { setImmediate as turn } from 'node:timers/promises';
import type { EndorsementKind } from '#ca/tpm2/endorsement-kind.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';
import type { OperatorClient } from '#simulators/gateway/operator-client.ts';
import type { SimulatedMaker } from '#simulators/tpm/simulated-maker.ts';
import { createSimulatedTpm } from '#simulators/tpm/simulated-tpm.ts';
import { createSimulatedTpmKeys } from '#simulators/tpm/simulated-tpm-keys.ts';
import type { PhaseName } from './plan-phases.ts';
import type { SimulatedDevice } from './simulated-device.ts';

export const RENEW_BY = ['notice', 'agent', 'campaign'] as const;
export type RenewBy = (typeof RENEW_BY)[number];

export type FleetSettings = {
  group: string | undefined;
  keyKind: KeyKind;
  renewBy: RenewBy;
  holdMs: number;
  /** Milliseconds that a campaign is spread over. */
  withinMs: number;
  /** Whose TPMs the devices get; undefined: none, keys are software. */
  tpms: { maker: SimulatedMaker; endorsementKey: EndorsementKind } | undefined;
};

/** What one device does in a phase, and which devices are in it. */
export type PhaseWork = {
  devices: SimulatedDevice[];
  /** All at once, as after a cut, instead of so many at a time. */
  together: boolean;
  run: (device: SimulatedDevice, signal: AbortSignal) => Promise<void>;
};

/** `hold` is none of these: it is waiting, with a look at who did not stay. */
export type WorkPhase = Exclude<PhaseName, 'hold'>;

export function workOf(
  phase: WorkPhase,
  fleet: readonly SimulatedDevice[],
  operator: OperatorClient,
  settings: FleetSettings,
): PhaseWork {
  const registered = fleet.filter(({ isRegistered }) => isRegistered);
  const connected = fleet.filter(({ isConnected }) => isConnected);
  switch (phase) {
    case 'equip':
      return {
        devices: settings.tpms === undefined ? [] : [...fleet],
        together: false,
        run: async (device) => {
          if (settings.tpms === undefined) return;
          const { maker, endorsementKey } = settings.tpms;
          // Making a TPM waits for nothing: without this turn no signal would be heard.
          await turn();
          const tpm = createSimulatedTpm(maker, { ek: endorsementKey });
          device.equip(createSimulatedTpmKeys(tpm, [maker.issuerCertificate]));
        },
      };
    case 'register':
      return {
        devices: [...fleet],
        together: false,
        run: async (device, signal) => {
          const { group } = settings;
          const body = { deviceId: device.deviceId, ...(group === undefined ? {} : { group }) };
          device.giveJoinUrl((await operator.call('addDevice', [], body, signal)).joinUrl);
        },
      };
    case 'enroll':
      return { devices: registered, together: false, run: (device, signal) => device.enroll(settings.keyKind, signal) };
    case 'connect':
      return {
        devices: fleet.filter(({ isEnrolled }) => isEnrolled),
        together: false,
        run: (device, signal) => device.connect(signal),
      };
    case 'reconnect':
      return { devices: connected, together: true, run: (device, signal) => device.reconnect(signal) };
    case 'renew':
      return renewalWork(connected, operator, settings);
    case 'end':
      return { devices: fleet.filter(({ isStarted }) => isStarted), together: false, run: (device) => device.stop() };
    case 'retire':
      return {
        devices: registered,
        together: false,
        run: async (device, signal) => void (await operator.call('retireDevice', [device.deviceId], {}, signal)),
      };
  }
}

function renewalWork(devices: SimulatedDevice[], operator: OperatorClient, settings: FleetSettings): PhaseWork {
  const { renewBy, withinMs, group = 'default' } = settings;
  switch (renewBy) {
    case 'agent':
      return { devices, together: false, run: (device, signal) => device.renewByItself(signal) };
    case 'notice':
      return {
        devices,
        together: false,
        run: (device, signal) => {
          const order = async () => void (await operator.call('renewDevice', [device.deviceId], {}, signal));
          return device.renewByNotice(order, signal);
        },
      };
    case 'campaign': {
      // One for all, started by the first when every device waits for its turn.
      const withinSeconds = Math.ceil(withinMs / 1000);
      const perMinute = Math.ceil((2 * 60 * devices.length) / withinSeconds);
      const campaign = { group, reason: 'simulated', withinSeconds, perMinute, abortPercent: 100 };
      let started: Promise<unknown> | undefined;
      const start = async () => {
        await turn();
        started ??= operator.call('startRenewals', [], campaign);
        await started;
      };
      return { devices, together: true, run: (device, signal) => device.renewByNotice(start, signal) };
    }
  }
}
