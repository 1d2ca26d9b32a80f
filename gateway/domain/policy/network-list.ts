import { parseIpAddress } from '#ca/pkix/ip-address.ts';

/** Octets of the address, and how many of its bits name the network. */
export type Network = { octets: Buffer; prefix: number };

/** @param text `10.1.0.0/16`, `fd00::/8`, or a single address. @throws RangeError that says what is wrong */
export function parseNetwork(text: string): Network {
  const [address = '', length, more] = text.trim().split('/');
  const octets = parseIpAddress(address);
  const widest = (octets?.length ?? 0) * 8;
  const prefix = length === undefined ? widest : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (octets === undefined || more !== undefined || !(prefix <= widest)) {
    throw new RangeError(`"${text.slice(0, 60)}" is not a network like 10.1.0.0/16 or fd00::/8`);
  }
  return { octets, prefix };
}

/**
 * An IPv4 address is in IPv4 networks only, also when it is written as IPv6 (`::ffff:10.1.2.3`); text that is no
 * address is in none.
 */
export function isInNetworks(networks: readonly string[], address: string): boolean {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  const octets = parseIpAddress(mapped ?? address.split('%')[0] ?? '');
  return octets !== undefined && networks.some((text) => isIn(parseNetwork(text), octets));
}

function isIn(network: Network, octets: Buffer): boolean {
  if (network.octets.length !== octets.length) return false;
  const whole = network.prefix >> 3;
  if (!network.octets.subarray(0, whole).equals(octets.subarray(0, whole))) return false;
  const rest = network.prefix & 7;
  if (rest === 0) return true;
  const mask = 0xff & (0xff << (8 - rest));
  return ((network.octets[whole] ?? 0) & mask) === ((octets[whole] ?? 0) & mask);
}
