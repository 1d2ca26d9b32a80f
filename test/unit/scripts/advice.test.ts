import { afterEach, describe, expect, test, vi } from 'vitest';
import { nextStepFor } from '#scripts/command-line/next-step.ts';
import { revocationReasonOption } from '#scripts/command-line/revocation-reason.ts';

describe('advice', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.resetModules();
  });

  test('names the device it is about', () => {
    expect(nextStepFor('TICKET_SPENT', 'press-07')).toContain('gatehouse device add press-07 --new-ticket');
  });

  test('does not mistake a name of Object for a code', () => {
    for (const code of ['constructor', '__proto__', 'toString', '', null, undefined]) {
      expect(nextStepFor(code)).toBeUndefined();
    }
  });

  test('can be typed as it stands in a checkout, where commands are reached through npx', async () => {
    vi.stubEnv('npm_command', 'exec');
    const { asTyped } = await import('#scripts/command-line/command-name.ts');
    expect(asTyped('see: gatehouse doctor')).toBe('see: npx gatehouse doctor');
    expect(asTyped('see: npx gatehouse doctor')).toBe('see: npx gatehouse doctor');
    expect(asTyped('gatehouse-agent enroll')).toBe('gatehouse-agent enroll');
  });

  test('can be typed so for every command there is', async () => {
    vi.stubEnv('npm_command', 'exec');
    const { asTyped } = await import('#scripts/command-line/command-name.ts');
    const { createProgram } = await import('#scripts/command-line/program.ts');
    for (const name of createProgram().commands.map((command) => command.name())) {
      expect(asTyped(`gatehouse ${name} x`)).toBe(`npx gatehouse ${name} x`);
    }
  });

  test('stays as it is where the command is installed', async () => {
    vi.stubEnv('npm_command', undefined);
    const { asTyped } = await import('#scripts/command-line/command-name.ts');
    expect(asTyped('see: gatehouse doctor')).toBe('see: gatehouse doctor');
  });
});

describe('reasons of a revocation', () => {
  test.each([
    ['keyCompromise', 'keyCompromise'],
    ['key-compromise', 'keyCompromise'],
    ['KEY_COMPROMISE', 'keyCompromise'],
    ['unspecified', 'unspecified'],
  ])('%s is %s', (text, reason) => {
    expect(revocationReasonOption(text)).toBe(reason);
  });

  test.each(['', 'stolen', 'cACompromise', 'certificateHold', 'removeFromCRL'])('"%s" is refused', (text) => {
    expect(() => revocationReasonOption(text)).toThrow(/a reason is one of: unspecified, keyCompromise/);
  });
});
