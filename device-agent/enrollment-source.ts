import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseCertificate } from '#ca/pkix/certificate.ts';
import { parsePem } from '#ca/pkix/pem.ts';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import { type DeviceId, parseDeviceId } from '#gateway/contract/device-id.ts';
import { type JoinUrl, parseJoinUrl } from '#gateway/contract/join-url.ts';
import { type GatewayAddress, isPort } from './domain/agent-config.ts';
import { AgentError } from './domain/agent-error.ts';
import { readManufacturerIdentity } from './domain/manufacturer-identity.ts';
import { readClaimFile } from './domain/read-claim-file.ts';
import type { ManufacturerWay } from './operations/enroll-order.ts';
import { say } from './terminal.ts';

/** What was typed about where the right to enroll comes from. */
export type SourceOptions = {
  via: 'est' | 'mqtt';
  idevidCert?: string;
  idevidKey?: string;
  idevidChain?: string;
  gateway?: string;
  est?: string;
  root?: string;
  rootSha256?: string;
  deviceId?: string;
  label?: string;
};

export type EnrollmentSource =
  | { kind: 'join' }
  | { kind: 'claim' }
  | { kind: 'manufacturer'; certificate: string; key: string; gateway: GatewayAddress };

const ONLY_WITH_IDEVID = [
  ['idevidKey', '--idevid-key'],
  ['idevidChain', '--idevid-chain'],
  ['gateway', '--gateway'],
  ['est', '--est'],
  ['root', '--root'],
  ['rootSha256', '--root-sha256'],
  ['deviceId', '--device-id'],
] as const;

/** Before anything is read or made. @throws AgentError USAGE when the options do not go together */
export function chooseSource(source: string | undefined, options: SourceOptions): EnrollmentSource {
  const { via, idevidCert, idevidKey, gateway } = options;
  if (idevidCert === undefined) {
    const stray = ONLY_WITH_IDEVID.find(([name]) => options[name] !== undefined);
    if (stray) throw usage(`${stray[1]} goes with --idevid-cert`);
    if (source === undefined)
      throw usage(via === 'mqtt' ? 'give the claim file, or `-`' : 'give the join URL, or `-` to read it from stdin');
    return { kind: via === 'mqtt' ? 'claim' : 'join' };
  }
  if (source !== undefined) throw usage('with --idevid-cert there is no join URL and no claim file');
  if (idevidKey === undefined) throw usage('--idevid-cert needs --idevid-key');
  if (gateway === undefined) throw usage('--idevid-cert needs --gateway HOST:PORT');
  if ((options.root === undefined) === (options.rootSha256 === undefined))
    throw usage('--idevid-cert needs --root FILE or --root-sha256 HEX: how else would the gateway be known?');
  if (options.est !== undefined && via === 'est') throw usage('--est goes with --via mqtt; else --gateway is EST');
  return { kind: 'manufacturer', certificate: idevidCert, key: idevidKey, gateway: readAddress(gateway, '--gateway') };
}

/** @throws AgentError USAGE that never repeats the text, since it may hold a live ticket. */
export function readJoinUrl(text: string): JoinUrl {
  try {
    return parseJoinUrl(text);
  } catch (cause) {
    const isClaim = text.includes('gatehouse-claim');
    throw new AgentError('USAGE', cause instanceof Error ? cause.message : 'this is not a join URL', {
      cause,
      ...(isClaim ? { advice: 'this is a claim file: use it with --via mqtt' } : {}),
    });
  }
}

/** @param path as typed, below `folder`; `-` is stdin. @throws AgentError USAGE */
export async function readClaim(path: string, folder: string): Promise<ClaimFile> {
  if (path === '-') return readClaimFile(await readStdin());
  if (path.startsWith('gatehouse://')) {
    throw new AgentError('USAGE', 'a join URL is for EST', {
      advice: 'leave --via mqtt out, or make a claim file: `gatehouse ticket claim DEVICE`',
    });
  }
  const file = resolve(folder, path);
  const claim = readClaimFile(await readText(file, path));
  if (await isOpenToOthers(file)) say(`other users may read ${path}, which holds a key; remove it when this is done`);
  return claim;
}

/** @param folder in which the paths were typed. @throws AgentError USAGE */
export async function readManufacturerWay(
  source: EnrollmentSource & { kind: 'manufacturer' },
  options: SourceOptions,
  folder: string,
): Promise<ManufacturerWay> {
  const keyFile = resolve(folder, source.key);
  const key = await readText(keyFile, source.key);
  if (await isOpenToOthers(keyFile)) {
    throw new AgentError('USAGE', `other users may read ${source.key}: whoever has that key is this device`, {
      advice: `chmod 600 ${source.key}`,
    });
  }
  const { via, idevidChain, est, deviceId } = options;
  return {
    identity: readManufacturerIdentity({
      certificate: await readText(resolve(folder, source.certificate), source.certificate),
      key,
      chain: idevidChain === undefined ? undefined : await readText(resolve(folder, idevidChain), idevidChain),
    }),
    via,
    gateway: source.gateway,
    ...(est === undefined ? {} : { est: readAddress(est, '--est') }),
    root: await readRoot(options, folder),
    ...(deviceId === undefined ? {} : { deviceId: readDeviceId(deviceId) }),
  };
}

async function readRoot({ root, rootSha256 }: SourceOptions, folder: string): Promise<ManufacturerWay['root']> {
  if (root === undefined) {
    const sha256 = (rootSha256 ?? '').replace(/:/g, '').toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw usage('--root-sha256 has 64 hexadecimal digits');
    return { sha256 };
  }
  const text = await readText(resolve(folder, root), root);
  try {
    const [der] = parsePem(text, 'CERTIFICATE');
    if (der && parseCertificate(der).isCa) return der;
  } catch {
    // Said below.
  }
  throw usage(`${root} holds no CA certificate in PEM`);
}

function readDeviceId(text: string): DeviceId {
  try {
    return parseDeviceId(text);
  } catch (cause) {
    throw new AgentError('USAGE', cause instanceof Error ? cause.message : 'this is no device id', { cause });
  }
}

/** `HOST:PORT`; an IPv6 address stands in brackets. */
function readAddress(text: string, option: string): GatewayAddress {
  const [, host, port] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253}):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined || !isPort(Number(port))) throw usage(`${option} is HOST:PORT`);
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

async function readText(file: string, asTyped: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(cause);
    throw new AgentError('USAGE', `${asTyped} cannot be read: ${why}`, { cause });
  }
}

async function isOpenToOthers(file: string): Promise<boolean> {
  return ((await stat(file)).mode & 0o077) !== 0;
}

/** So that a secret need not stand in the process list. */
export async function readStdin(): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString('utf8').trim();
}

function usage(message: string): AgentError {
  return new AgentError('USAGE', message, { advice: '`gatehouse-agent enroll --help` has examples' });
}
