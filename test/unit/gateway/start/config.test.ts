import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig, serverNames } from '#gateway/config.ts';

describe('settings', () => {
  it('have defaults for everything', () => {
    expect(parseConfig({})).toMatchObject({
      host: '0.0.0.0',
      estPort: 8443,
      mqttPort: 8883,
      statusPort: 8080,
      operatorPort: 9443,
    });
  });

  it.each([
    ['an unknown one', { estport: 1 }, /estport/],
    ['a port that is none', { estPort: '99999' }, /--est-port/],
    ['a port in words', { mqttPort: 'eight' }, /--mqtt-port/],
    ['a trust domain with capitals', { trustDomain: 'Example' }, /--trust-domain.*lower-case/],
    ['a CRL that is good for nothing', { crlHours: '0' }, /--crl-hours/],
    ['an unknown log level', { logLevel: 'loud' }, /--log-level/],
  ])('refuse %s by name', (_, input, message) => {
    expect(() => parseConfig(input)).toThrow(ConfigError);
    expect(() => parseConfig(input)).toThrow(message);
  });

  it('name this machine so that devices reach it: the address listened on, or an outside one', () => {
    expect(parseConfig({ host: '127.0.0.1' }).publicHost).toBe('127.0.0.1');
    expect(parseConfig({ host: '0.0.0.0' }).publicHost).not.toBe('0.0.0.0');
    expect(parseConfig({ host: '127.0.0.1', publicHost: 'gateway.plant.example' }).publicHost).toBe(
      'gateway.plant.example',
    );
  });

  it('put every name and address once into the server certificate, and never the wildcard address', () => {
    const { dnsNames, ipAddresses } = serverNames(parseConfig({ name: ['Gate.Example', '10.0.0.7', 'localhost'] }));
    expect(dnsNames).toContain('gate.example');
    expect(dnsNames.filter((name) => name === 'localhost')).toHaveLength(1);
    expect(ipAddresses).toEqual(expect.arrayContaining(['10.0.0.7', '127.0.0.1', '::1']));
    expect(ipAddresses).not.toContain('0.0.0.0');
  });
});
