/** The name of one attempt, the same on the device's screen and in the gateway's log. @param random 8 random bytes. */
export function formatAttemptId(random: Uint8Array): string {
  return `a-${Buffer.from(random).toString('hex')}`;
}

export function isAttemptId(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(value);
}
