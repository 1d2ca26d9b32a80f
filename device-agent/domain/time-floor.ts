import { EARLIEST_PLAUSIBLE_TIME } from './agent-version.ts';

/** `time-floor.json`: it is surely not earlier than this. Milliseconds UTC; only rises. */
export type TimeFloor = { version: 1; floor: number };

/** The wall clock may lag behind signed time by this much and still be believed. */
const TOLERANCE_MS = 10 * 60_000;

export function parseTimeFloor(value: unknown): TimeFloor {
  const { version, floor } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (version !== 1 || typeof floor !== 'number' || !Number.isSafeInteger(floor))
    return { version: 1, floor: EARLIEST_PLAUSIBLE_TIME };
  return { version: 1, floor: Math.max(floor, EARLIEST_PLAUSIBLE_TIME) };
}

/** A device without a battery wakes up in 1970: such a clock is told by the floor it has fallen through. */
export function isClockBelievable(wall: number, floor: number): boolean {
  return wall >= floor - TOLERANCE_MS;
}

/** The best known time, whole milliseconds: the wall clock if it can be right, else the floor and the time since it was learned. */
export function bestTime(wall: number, floor: number, elapsedSinceFloorMs: number): number {
  return isClockBelievable(wall, floor) ? wall : floor + Math.max(0, Math.floor(elapsedSinceFloorMs));
}
