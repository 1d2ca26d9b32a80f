import { describe, expect, test } from 'vitest';
import { nameDevices } from '#simulators/fleet/device-names.ts';
import { filesNeeded, parseOpenFilesLimit } from '#simulators/fleet/file-limit.ts';
import { planPhases, SCENARIOS } from '#simulators/fleet/plan-phases.ts';
import { parseProcessorTime } from '#simulators/fleet/processor-use.ts';
import { parseSimulationOptions } from '#simulators/fleet/simulation-options.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';

describe('options of the simulator', () => {
  test('have good defaults', () => {
    expect(parseSimulationOptions([])).toMatchObject({
      devices: 500,
      scenario: 'all',
      concurrency: 32,
      keyKind: 'ec-p256',
      renewBy: 'notice',
      holdMs: 10_000,
      gateway: undefined,
      json: false,
    });
  });

  test('take times with their unit', () => {
    expect(parseSimulationOptions(['--hold', '250ms', '--time-limit', '2m'])).toMatchObject({
      holdMs: 250,
      timeLimitMs: 120_000,
    });
  });

  test.each([
    ['no device at all', ['--devices', '0'], '--devices'],
    ['half a device', ['--devices', '1.5'], '--devices'],
    ['an unknown scenario', ['--scenario', 'constructor'], '--scenario'],
    ['an unknown kind of key', ['--algorithm', 'dsa'], '--algorithm'],
    ['a time without a unit', ['--hold', '10'], '--hold'],
    ['a time of more than a day', ['--hold', '25h'], '--hold'],
    ['an option that does not exist', ['--device', '5'], '--device'],
    ['a key in a place that is none', ['--key', 'usb'], '--key'],
    ['an endorsement key that TPMs do not have', ['--key', 'tpm', '--endorsement-key', 'ed25519'], '--endorsement-key'],
    ['keys in a TPM of another kind than TPMs make', ['--key', 'tpm', '--algorithm', 'ed25519'], '--algorithm'],
    ['a maker of TPMs for devices without one', ['--maker', 'dir'], '--key tpm'],
    ['two ways to the same gateway', ['--gateway', 'a', '--ready-file', 'b'], '--gateway'],
  ])('refuse %s and name it', (_, args, named) => {
    try {
      parseSimulationOptions(args);
    } catch (error) {
      expect(error).toBeInstanceOf(SimulatorError);
      expect((error as SimulatorError).code).toBe('USAGE');
      expect((error as SimulatorError).message).toContain(named);
      return;
    }
    throw new Error('they were taken');
  });

  test('ask for help before anything else', () => {
    expect(parseSimulationOptions(['--help'])).toBe('help');
  });
});

describe('a plan', () => {
  test.each(SCENARIOS)('of scenario %s registers and enrolls before anything else', (scenario) => {
    expect(planPhases(scenario, { tpms: false, retire: false }).slice(0, 2)).toEqual(['register', 'enroll']);
  });

  test('gives every device a TPM before it is registered', () => {
    expect(planPhases('enroll', { tpms: true, retire: false })).toEqual(['equip', 'register', 'enroll']);
  });

  test('ends sessions before it retires the devices', () => {
    expect(planPhases('all', { tpms: false, retire: true }).slice(-2)).toEqual(['end', 'retire']);
  });

  test('names every device differently and sortably', () => {
    const names = nameDevices('a1b2c3', 12_000);
    expect(new Set(names).size).toBe(12_000);
    expect(names.toSorted()).toEqual(names);
    expect(names[0]).toBe('sim-a1b2c3-00001');
  });
});

describe('what the system allows', () => {
  const LIMITS = `Limit                     Soft Limit           Hard Limit           Units
Max processes             96216                96216                processes
Max open files            1024                 524288               files     `;

  test('is the soft limit of open files', () => {
    expect(parseOpenFilesLimit(LIMITS)).toBe(1024);
  });

  test('is not known where there is no such table', () => {
    expect(parseOpenFilesLimit('')).toBeUndefined();
    expect(parseOpenFilesLimit(LIMITS.replace('1024  ', 'unlimited'))).toBeUndefined();
  });

  test('must leave room for three sockets of each device', () => {
    expect(filesNeeded(500)).toBeGreaterThanOrEqual(1500);
  });

  test('processor time is read also of a process with brackets and spaces in its name', () => {
    const stat = '4242 (node (gateway) x) S 1 4242 4242 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 11 0 9 9 9';
    expect(parseProcessorTime(stat)).toBe(2000);
    expect(parseProcessorTime('nonsense')).toBeUndefined();
  });
});
