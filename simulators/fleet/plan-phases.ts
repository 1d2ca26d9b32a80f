export const SCENARIOS = ['all', 'enroll', 'hold', 'reconnect', 'renew'] as const;
export type Scenario = (typeof SCENARIOS)[number];

export type PhaseName = 'equip' | 'register' | 'enroll' | 'connect' | 'hold' | 'reconnect' | 'renew' | 'end' | 'retire';

const SCENARIO_PHASES = {
  all: ['register', 'enroll', 'connect', 'hold', 'reconnect', 'renew', 'end'],
  enroll: ['register', 'enroll'],
  hold: ['register', 'enroll', 'connect', 'hold', 'end'],
  reconnect: ['register', 'enroll', 'connect', 'reconnect', 'end'],
  renew: ['register', 'enroll', 'connect', 'renew', 'end'],
} as const satisfies Record<Scenario, readonly PhaseName[]>;

/**
 * The phases of a scenario in their order.
 * @param options.tpms every device gets a TPM first. @param options.retire the devices are taken out of the gateway's
 * books at the end.
 */
export function planPhases(scenario: Scenario, options: { tpms: boolean; retire: boolean }): PhaseName[] {
  return [
    ...(options.tpms ? (['equip'] as const) : []),
    ...SCENARIO_PHASES[scenario],
    ...(options.retire ? (['retire'] as const) : []),
  ];
}
