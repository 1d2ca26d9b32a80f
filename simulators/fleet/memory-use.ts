/** Bytes of this process, devices and all. */
export type MemoryReading = { resident: number; heap: number };

/** `connected`: after the phases in which `devices` devices were connected. */
export type MemoryUse = { before: MemoryReading; connected: MemoryReading; devices: number };

export function readMemory(): MemoryReading {
  const { rss, heapUsed } = process.memoryUsage();
  return { resident: rss, heap: heapUsed };
}

/** Resident KiB that each connected device adds; null when none was connected. */
export function kibPerDevice({ before, connected, devices }: MemoryUse): number | null {
  return devices === 0 ? null : Math.round(Math.max(0, connected.resident - before.resident) / devices / 1024);
}
