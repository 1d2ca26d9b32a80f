const HOUR = 3_600_000;
/** 16 octets of a serial and 8 of a time. */
const RECORD = 24;
const FIRST_RECORDS = 8;

type Hour = { bytes: Buffer; used: number };

/** Which serials end when, by the hour, so that nobody looks through all of them for those that have. */
export class SerialEnds {
  readonly #hours = new Map<number, Hour>();

  /** @param serial 32 hexadecimal digits @param notAfter milliseconds UTC */
  add(serial: string, notAfter: number): void {
    const key = Math.floor(notAfter / HOUR);
    let hour = this.#hours.get(key);
    if (hour === undefined) {
      hour = { bytes: Buffer.allocUnsafeSlow(FIRST_RECORDS * RECORD), used: 0 };
      this.#hours.set(key, hour);
    } else if (hour.used === hour.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(hour.bytes.length * 2);
      hour.bytes.copy(larger);
      hour.bytes = larger;
    }
    hour.bytes.write(serial, hour.used, 16, 'hex');
    hour.bytes.writeDoubleBE(notAfter, hour.used + 16);
    hour.used += RECORD;
  }

  /** Those that end before this moment; they are not kept any longer. */
  takeBefore(moment: number): string[] {
    const last = Math.floor(moment / HOUR);
    const taken: string[] = [];
    for (const [key, hour] of this.#hours) {
      if (key > last) continue;
      let left = 0;
      for (let at = 0; at < hour.used; at += RECORD) {
        if (hour.bytes.readDoubleBE(at + 16) < moment) taken.push(hour.bytes.toString('hex', at, at + 16));
        else {
          hour.bytes.copy(hour.bytes, left, at, at + RECORD);
          left += RECORD;
        }
      }
      hour.used = left;
      if (left === 0) this.#hours.delete(key);
    }
    return taken;
  }
}
