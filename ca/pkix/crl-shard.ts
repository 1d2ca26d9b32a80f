/** More lists than this are no help: at a million entries one of 256 has 200 KB. */
export const MAX_CRL_SHARDS = 256;

/**
 * Which of `count` lists a certificate is listed in, for ever: the last four octets of its serial, which are random,
 * modulo their number.
 * @param serial hexadecimal
 */
export function shardOf(serial: string, count: number): number {
  return Number.parseInt(serial.slice(-8), 16) % count;
}
