/** A time that the gateway has signed just before, and where the uptime stood then. Milliseconds. */
export type ClockReading = { time: number; monotonic: number };

/** A wall clock that differs from signed time by no more than this is as good as it. */
const TOLERANCE_MS = 5 * 60_000;

/** It runs beside the uptime up to this; more is somebody who has set it, or a machine that slept. */
const JUMP_MS = 60_000;

/** What signed time has become since: by the uptime, which nobody sets. */
export function signedNow({ time, monotonic }: ClockReading, uptime: number): number {
  return time + Math.max(0, Math.floor(uptime - monotonic));
}

export function agrees(wall: number, signed: number): boolean {
  return Math.abs(wall - signed) <= TOLERANCE_MS;
}

/** Whether the wall clock was moved between two looks at both. */
export function hasJumped(before: ClockReading, now: ClockReading): boolean {
  return Math.abs(now.time - before.time - (now.monotonic - before.monotonic)) > JUMP_MS;
}
