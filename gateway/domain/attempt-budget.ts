import { AuditBudget } from './audit-budget.ts';
import type { GatewayErrorCode } from './gateway-error.ts';

/** An attempt as far as it matters for what is kept of it. network: see networkOf. */
export type AttemptEnd = {
  network: string;
  /** undefined: of somebody unknown. */
  deviceId: string | undefined;
  /** undefined: it was granted. */
  code: GatewayErrorCode | undefined;
};

/**
 * How many attempts are kept of those whose certificate is not on record anyway. Of somebody known so many of the device,
 * since a fleet shares an address and one that fails in a loop must not hide the others; refusals, which are audited, so
 * many of the network as well, since a registrar may name any device. Waiting and being refused are counted apart: who has
 * waited for long is told in the end.
 */
export class AttemptBudget {
  readonly #ofDevice = new AuditBudget({ burst: 10, perSecond: 1 / 300, maxKeys: 50_000 });
  readonly #ofNetwork = new AuditBudget({ burst: 2_000, perSecond: 0.2, maxKeys: 10_000 });
  readonly #ofStrangers: AuditBudget;

  /** @param ofStrangers of each network, for all that it sends without being known */
  constructor(ofStrangers: AuditBudget) {
    this.#ofStrangers = ofStrangers;
  }

  /** @param now milliseconds @returns whether there is room for one more */
  take({ network, deviceId, code }: AttemptEnd, now: number): boolean {
    // Who tries a ticket that is none has only named a device.
    if (deviceId === undefined || code === 'TICKET_UNKNOWN') {
      // What a busy gateway turned away says little, is much, and must not hide the rest.
      return this.#ofStrangers.take(code === 'OVERLOADED' ? `${network} ${code}` : network, now);
    }
    const isRefusal = code !== undefined && code !== 'APPROVAL_PENDING';
    const key = `${network} ${deviceId} ${isRefusal ? 'refused' : (code ?? 'granted')}`;
    return this.#ofDevice.take(key, now) && (!isRefusal || this.#ofNetwork.take(network, now));
  }
}
