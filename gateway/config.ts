import { hostname, networkInterfaces } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';

const port = z.coerce.number().int().min(0).max(65535);
const hostText = z.string().min(1).max(253);

/** Every setting of the gateway. Unknown ones are refused: a misspelt security setting must not be silently ignored. */
const settings = z.strictObject({
  /** Folder of everything the gateway keeps: database, CA, keys. On a local disk; SQLite does not survive network file systems. */
  data: z
    .string()
    .min(1)
    .default(() => process.env['GATEHOUSE_DATA'] ?? './data'),
  /** Address all doors listen on. 0.0.0.0: every IPv4 interface; 127.0.0.1: this machine only. */
  host: hostText.default('0.0.0.0'),
  /** Name or address devices reach this machine by; stands in join URLs and certificates. Wrong: devices cannot connect. */
  publicHost: hostText.optional(),
  /** More DNS names or addresses for the gateway's own certificate. */
  name: z.array(hostText).default([]),
  /** Ports; 0 picks a free one (then join URLs and CRL addresses change with every start). */
  estPort: port.default(8443),
  mqttPort: port.default(8883),
  statusPort: port.default(8080),
  operatorPort: port.default(9443),
  /** File to write, as JSON, when the gateway can serve. */
  readyFile: z.string().min(1).optional(),
  /** SPIFFE trust domain, fixed for ever when the CA is made. */
  trustDomain: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,254}$/, 'lower-case letters, digits, dots, dashes and underscores')
    .default('gatehouse.internal'),
  /** Socket of an authority that runs on its own. Left out: the gateway starts one itself on its data folder. */
  caSocket: z.string().min(1).optional(),
  /** Hours a CRL is good for; a new one is made eight times as often. Too short: an outage of the authority stops relying parties. */
  crlHours: z.coerce
    .number()
    .min(1)
    .max(24 * 30)
    .default(24),
  /**
   * Lists that the revocations of certificates issued from now on are spread over, by serial number; 1: the whole list.
   * The whole list stays where it is. More than are needed: as many files to sign and fetch. An authority that runs on
   * its own (caSocket) has its own such setting.
   */
  crlShards: z.coerce.number().int().min(1).max(256).default(1),
  /** What is logged: debug, info, warn or error. */
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
});

export type GatewayConfig = z.infer<typeof settings> & { publicHost: string };

export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConfigError';
  }
}

/** @throws ConfigError that names the setting, what is wrong with it and what it takes. */
export function parseConfig(input: Record<string, unknown>): GatewayConfig {
  const parsed = settings.safeParse(input);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ') : (issue?.path.join('.') ?? '');
    throw new ConfigError(`setting ${optionName(where)}: ${issue?.message ?? 'not understood'}`);
  }
  const config = parsed.data;
  return {
    ...config,
    data: resolve(config.data),
    ...(config.readyFile === undefined ? {} : { readyFile: resolve(config.readyFile) }),
    publicHost: config.publicHost ?? reachableHost(config.host),
  };
}

function optionName(key: string): string {
  return `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The listening address when it is one; else the first address other machines can reach. */
function reachableHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host;
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find((address) => !address.internal && address.family === 'IPv4');
  return outside?.address ?? '127.0.0.1';
}

/** All names the gateway's server certificate is made for. */
export function serverNames(config: GatewayConfig): { dnsNames: string[]; ipAddresses: string[] } {
  const own = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    // Link-local addresses come and go and mean nothing without a zone.
    .filter(({ address }) => !address.startsWith('fe80:'))
    .map(({ address }) => address);
  const all = [config.publicHost, ...config.name, 'localhost', hostname(), '127.0.0.1', '::1', ...own];
  return {
    dnsNames: [...new Set(all.filter((name) => !isAddress(name)).map((name) => name.toLowerCase()))],
    ipAddresses: [...new Set(all.filter((name) => isAddress(name) && name !== '0.0.0.0' && name !== '::'))].slice(
      0,
      32,
    ),
  };
}

export function inDataFolder(config: GatewayConfig, name: string): string {
  return join(config.data, name);
}

function isAddress(name: string): boolean {
  return /^[\d.]+$/.test(name) || name.includes(':');
}
