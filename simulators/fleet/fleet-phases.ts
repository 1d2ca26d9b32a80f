import type { KeyKind } from '#gateway/contract/operator-api.ts';
import type { OperatorClient } from '#simulators/gateway/operator-client.ts';
import type { PhaseName } from './plan-phases.ts';
import type { SimulatedDevice } from './simulated-device.ts';

export const RENEW_BY = ['notice', 'agent'] as const;
export type RenewBy = (typeof RENEW_BY)[number];

export type FleetSettings = {
  group: string | undefined;
  keyKind: KeyKind;
  renewBy: RenewBy;
  holdMs: number;
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
      return {
        devices: connected,
        together: false,
        run: (device, signal) =>
          settings.renewBy === 'agent'
            ? device.renewByItself(signal)
            : device.renewByNotice(
                async () => void (await operator.call('renewDevice', [device.deviceId], {}, signal)),
                signal,
              ),
      };
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
